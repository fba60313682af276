"""Calls under a deadline, with workers that hang."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from agent.virt.libvirt.calls import Calls
from drover import errors
from drover.runtime import Event
from drover.runtime.threads import ThreadRuntime


@pytest.fixture
def calls(runtime: ThreadRuntime) -> Iterator[Calls]:
    made = Calls(runtime, workers=2, spare=3)
    yield made
    made.close()


@pytest.fixture
def gate(runtime: ThreadRuntime) -> Iterator[Event]:
    """Holds calls up until it is set; set at the end whatever happens."""
    event = runtime.event()
    yield event
    event.set()


def hang(calls: Calls, gate: Event) -> None:
    with pytest.raises(errors.DriverTimeout):
        calls.run("hang", gate.wait, 0.05)


def test_a_result_and_an_error_come_through(calls: Calls) -> None:
    assert calls.run("add", lambda: 1 + 1, 30) == 2
    with pytest.raises(ZeroDivisionError):
        calls.run("divide", lambda: 1 / 0, 30)
    assert calls.run("none", lambda: None, 30) is None


def test_a_stuck_worker_is_replaced(calls: Calls, gate: Event) -> None:
    for stuck in (1, 2):
        hang(calls, gate)
        assert calls.stuck == stuck
        assert calls.run("fine", lambda: "fine", 30) == "fine"


def test_at_the_bound_calls_are_refused_at_once(calls: Calls, gate: Event) -> None:
    for _ in range(3):
        hang(calls, gate)
    with pytest.raises(errors.DriverUnavailable, match="3 earlier calls"):
        calls.run("refused", lambda: pytest.fail("it ran"), 30)


def test_workers_that_come_back_make_room_again(calls: Calls, gate: Event, runtime: ThreadRuntime) -> None:
    for _ in range(3):
        hang(calls, gate)
    gate.set()
    for _ in range(3000):
        if calls.stuck == 0:
            break
        runtime.sleep(0.01)
    assert calls.stuck == 0
    assert calls.run("fine", lambda: "fine", 30) == "fine"


def test_a_call_that_never_got_a_worker_never_runs(runtime: ThreadRuntime, gate: Event) -> None:
    calls = Calls(runtime, workers=1, spare=3)
    ran: list[str] = []

    def hold() -> None:
        calls.run("hold", gate.wait, 30)

    holder = runtime.spawn("holder", hold)
    for _ in range(3000):
        if calls._pending == 1:
            break
        runtime.sleep(0.01)
    with pytest.raises(errors.DriverTimeout):
        calls.run("late", lambda: ran.append("late"), 0.05)
    assert calls.stuck == 0  # it waited, it did not hang
    gate.set()
    assert holder.join(30)
    assert calls.run("after", lambda: ran.append("after"), 30) is None
    assert ran == ["after"]
    calls.close()


def test_many_callers_share_few_workers(calls: Calls, runtime: ThreadRuntime) -> None:
    results: list[int] = []

    def ask(number: int) -> None:
        results.append(calls.run("square", lambda: number * number, 30))

    tasks = [runtime.spawn("caller", partial(ask, number)) for number in range(40)]
    assert all(task.join(30) for task in tasks)
    assert sorted(results) == [n * n for n in range(40)]
    assert calls._alive <= 2


def test_a_closed_pool_refuses(calls: Calls) -> None:
    calls.close()
    with pytest.raises(errors.DriverUnavailable):
        calls.run("late", lambda: None, 30)

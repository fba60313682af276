"""The production runtime keeps what the protocol says."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest

from drover.runtime import Runtime
from drover.runtime.runtime import QueueEmpty
from drover.runtime.threads import ThreadRuntime


@pytest.fixture
def runtime() -> Runtime:
    return ThreadRuntime()


def test_clock_is_aware_utc_and_monotonic(runtime: Runtime) -> None:
    assert runtime.clock.now().utcoffset() == timedelta(0)
    before = runtime.clock.monotonic()
    runtime.sleep(0.01)
    assert runtime.clock.monotonic() - before >= 0.01
    runtime.sleep(-1.0)


def test_a_seed_repeats_chance_and_ids() -> None:
    first, second = ThreadRuntime(seed=7), ThreadRuntime(seed=7)
    assert [first.uuid(), first.random.random()] == [second.uuid(), second.random.random()]
    assert ThreadRuntime().uuid() != ThreadRuntime().uuid()


def test_a_task_runs_beside_and_is_joined(runtime: Runtime) -> None:
    gate = runtime.event()
    task = runtime.spawn("worker", lambda: _wait(gate))
    assert task.name == "worker"
    assert task.is_alive()
    assert not task.join(0.01)
    gate.set()
    assert task.join(30)
    assert not task.is_alive()


def test_an_exception_is_logged_with_the_name(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("lost otherwise")

    assert runtime.spawn("unlucky", fail).join(30)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "unlucky" in record.getMessage()
    assert record.exc_info is not None


def test_a_lock_excludes_and_times_out(runtime: Runtime) -> None:
    lock = runtime.lock()
    with lock:
        assert not lock.acquire(0.0)
        assert not lock.acquire(0.01)
    assert lock.acquire()
    lock.release()


def test_an_event_is_waited_for(runtime: Runtime) -> None:
    event = runtime.event()
    assert not event.wait(0.01)
    waiter = runtime.spawn("waiter", lambda: _wait(event))
    event.set()
    assert waiter.join(30)
    assert event.is_set()
    event.clear()
    assert not event.is_set()


def test_a_queue_keeps_order_and_drains(runtime: Runtime) -> None:
    queue = runtime.queue()
    with pytest.raises(QueueEmpty):
        queue.get(0.01)
    for number in range(4):
        queue.put(number)
    assert (len(queue), queue.get()) == (4, 0)
    assert queue.drain() == [1, 2, 3]
    assert queue.drain() == []


def test_a_bounded_queue_holds_up_who_puts(runtime: Runtime) -> None:
    queue = runtime.queue(max_size=1)
    queue.put("first")
    putter = runtime.spawn("putter", lambda: queue.put("second"))
    assert not putter.join(0.05)
    assert queue.get() == "first"
    assert putter.join(30)
    third = runtime.spawn("putter", lambda: queue.put("third"))
    assert not third.join(0.05)
    assert queue.drain() == ["second"]
    assert third.join(30)
    assert queue.get(30) == "third"


def test_a_pool_runs_at_most_its_size_and_knows_its_room(runtime: Runtime) -> None:
    pool = runtime.pool("p", 2)
    begun, gate = runtime.queue(), runtime.event()

    def work(number: int) -> None:
        begun.put(number)
        _wait(gate)

    assert pool.room() == 2
    for number in range(3):
        pool.submit(lambda n=number: work(n))  # type: ignore[misc]
    assert pool.room() == 0
    assert {begun.get(30), begun.get(30)} == {0, 1}
    with pytest.raises(QueueEmpty):
        begun.get(0.05)
    gate.set()
    assert begun.get(30) == 2
    assert pool.close(30)
    assert pool.room() == 0
    with pytest.raises(RuntimeError):
        pool.submit(lambda: None)


def test_room_comes_back_when_work_ends(runtime: Runtime) -> None:
    pool = runtime.pool("p", 1)
    for _ in range(50):
        done = runtime.event()
        pool.submit(done.set)
        assert done.wait(30)
    assert pool.close(30)


def test_a_pool_starts_threads_only_for_work_and_ends_them(runtime: Runtime) -> None:
    pool = runtime.pool("lazy-pool", 8)

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("lazy-pool-")]

    assert threads() == []
    gate = runtime.event()
    pool.submit(lambda: _wait(gate))
    (thread,) = threads()
    assert not pool.close(0.01)
    gate.set()
    assert pool.close(30)
    thread.join(30)
    assert not thread.is_alive()


def test_closing_a_pool_runs_what_was_submitted(runtime: Runtime) -> None:
    pool = runtime.pool("p", 1)
    done = runtime.queue()
    for number in range(20):
        pool.submit(lambda n=number: done.put(n))  # type: ignore[misc]
    assert pool.close(30)
    assert done.drain() == list(range(20))


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_pool_survives_failing_work(
    runtime: Runtime, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    pool = runtime.pool("p", 1)

    def fail() -> None:
        raise error

    done = runtime.event()
    pool.submit(fail)
    pool.submit(done.set)
    assert done.wait(30)
    assert pool.close(30)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def _wait(event: object) -> None:
    assert event.wait(30)  # type: ignore[attr-defined]

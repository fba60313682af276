"""Requests of one window share one batch, and each gets its own answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from drover import errors
from drover.runtime import Runtime, Task
from drover.runtime.joiner import Joiner
from drover.runtime.threads import ThreadRuntime


@pytest.fixture
def runtime() -> Runtime:
    return ThreadRuntime()


class Handler:
    """Doubles; the first batch waits for the gate."""

    def __init__(self, runtime: Runtime) -> None:
        self.batches: list[list[int]] = []
        self.entered = runtime.event()
        self.gate = runtime.event()

    def __call__(self, requests: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(requests))
        self.entered.set()
        assert self.gate.wait(30)
        return [ValueError(f"no {number}") if number < 0 else number * 2 for number in requests]


def test_one_request_is_a_batch_of_one(runtime: Runtime) -> None:
    handler = Handler(runtime)
    handler.gate.set()
    assert Joiner(runtime, handler, window_s=0.0).submit(4) == 8
    assert handler.batches == [[4]]


def test_what_comes_while_a_batch_is_at_work_becomes_the_next(runtime: Runtime) -> None:
    handler = Handler(runtime)
    joiner = Joiner(runtime, handler, window_s=0.0)
    results = runtime.queue()
    tasks = [runtime.spawn("first", lambda: results.put(joiner.submit(1)))]
    assert handler.entered.wait(30)
    tasks += [runtime.spawn("later", lambda n=n: results.put(joiner.submit(n))) for n in (2, 3, 4)]  # type: ignore[misc]
    _until(runtime, lambda: len(joiner._waiting) == 3)
    handler.gate.set()
    assert all(task.join(30) for task in tasks)
    assert handler.batches[0] == [1]
    assert sorted(handler.batches[1]) == [2, 3, 4]
    assert sorted(results.drain()) == [2, 4, 6, 8]  # type: ignore[type-var]


def test_a_batch_is_cut_to_its_bound(runtime: Runtime) -> None:
    handler = Handler(runtime)
    joiner = Joiner(runtime, handler, window_s=0.0, most=2)
    tasks = [runtime.spawn("first", lambda: _ignore(joiner.submit(0)))]
    assert handler.entered.wait(30)
    tasks += [runtime.spawn("later", lambda n=n: _ignore(joiner.submit(n))) for n in range(1, 6)]  # type: ignore[misc]
    _until(runtime, lambda: len(joiner._waiting) == 5)
    handler.gate.set()
    assert all(task.join(30) for task in tasks)
    assert [len(batch) for batch in handler.batches] == [1, 2, 2, 1]


def test_an_answer_that_is_an_error_reaches_its_caller_only(runtime: Runtime) -> None:
    handler = Handler(runtime)
    handler.gate.set()
    joiner = Joiner(runtime, handler, window_s=0.0)
    with pytest.raises(ValueError, match="no -1"):
        joiner.submit(-1)
    assert joiner.submit(1) == 2


@pytest.mark.parametrize("error", [OSError, SystemExit])
def test_a_failing_handler_fails_every_caller(runtime: Runtime, error: type[BaseException]) -> None:
    def fail(requests: Sequence[int]) -> Sequence[int | Exception]:
        raise error("gone")

    joiner: Joiner[int, int] = Joiner(runtime, fail, window_s=0.2)
    outcomes = runtime.queue()

    def ask() -> None:
        try:
            joiner.submit(1)
        except BaseException as exc:
            outcomes.put(type(exc))

    tasks = [runtime.spawn("ask", ask) for _ in range(3)]
    assert all(task.join(30) for task in tasks)
    assert outcomes.drain() == [error] * 3


def test_a_poisonous_request_harms_only_itself(runtime: Runtime) -> None:
    batches: list[list[int]] = []
    entered, gate = runtime.event(), runtime.event()

    def handle(requests: Sequence[int]) -> Sequence[int | Exception]:
        batches.append(list(requests))
        entered.set()
        assert gate.wait(30)
        if -1 in requests:
            raise RuntimeError("poison")
        return [number * 2 for number in requests]

    joiner: Joiner[int, int] = Joiner(runtime, handle, window_s=0.0)
    outcomes = runtime.queue()

    def ask(number: int) -> None:
        try:
            outcomes.put(joiner.submit(number))
        except RuntimeError as exc:
            outcomes.put(str(exc))

    tasks = [runtime.spawn("first", lambda: ask(1))]
    assert entered.wait(30)
    tasks += [runtime.spawn("later", lambda n=n: ask(n)) for n in (2, -1, 3)]  # type: ignore[misc]
    _until(runtime, lambda: len(joiner._waiting) == 3)
    gate.set()
    assert all(task.join(30) for task in tasks)
    assert sorted(map(str, outcomes.drain())) == ["2", "4", "6", "poison"]
    assert sorted(len(batch) for batch in batches) == [1, 1, 1, 1, 3]


def test_what_is_unavailable_for_one_is_so_for_all(runtime: Runtime) -> None:
    tries: list[int] = []

    def handle(requests: Sequence[int]) -> Sequence[int | Exception]:
        tries.append(len(requests))
        raise errors.StoreUnavailable(detail="gone")

    joiner: Joiner[int, int] = Joiner(runtime, handle, window_s=0.2)
    outcomes = runtime.queue()

    def ask() -> None:
        try:
            joiner.submit(1)
        except errors.StoreUnavailable as exc:
            outcomes.put(exc.code)

    tasks = [runtime.spawn("ask", ask) for _ in range(3)]
    assert all(task.join(30) for task in tasks)
    assert outcomes.drain() == ["StoreUnavailable"] * 3
    assert sum(tries) == 3


class ArrivalRuntime(ThreadRuntime):
    """In each window, that many requests come."""

    def __init__(self, arrivals: list[int]) -> None:
        super().__init__()
        self.arrivals = arrivals
        self.windows = 0
        self.tasks: list[Task] = []
        self.joiner: Joiner[int, int]

    def sleep(self, seconds: float) -> None:
        if seconds != WINDOW_S:
            return super().sleep(seconds)
        coming = self.arrivals[self.windows] if self.windows < len(self.arrivals) else 0
        self.windows += 1
        there = len(self.joiner._waiting)
        self.tasks += [self.spawn("ask", lambda: _ignore(self.joiner.submit(0))) for _ in range(coming)]
        return _until(self, lambda: len(self.joiner._waiting) == there + coming)


WINDOW_S = 0.0625


@pytest.mark.parametrize(
    ("arrivals", "windows", "batch"),
    [([], 1, 1), ([2, 0, 1], 2, 3), ([1, 1, 1], 4, 4), ([1] * 9, 5, 6)],
)
def test_a_leader_waits_on_while_requests_keep_coming(arrivals: list[int], windows: int, batch: int) -> None:
    runtime = ArrivalRuntime(arrivals)
    handler = Handler(runtime)
    handler.gate.set()
    runtime.joiner = Joiner(runtime, handler, window_s=WINDOW_S)
    runtime.joiner.submit(0)
    assert all(task.join(30) for task in runtime.tasks)
    assert runtime.windows == windows
    assert [len(each) for each in handler.batches] == [batch]


def test_too_few_answers_are_an_error_not_a_hang(runtime: Runtime) -> None:
    joiner: Joiner[int, int] = Joiner(runtime, lambda requests: [], window_s=0.0)
    with pytest.raises(ValueError, match="zip"):
        joiner.submit(1)


def _ignore(result: object) -> None:
    del result


def _until(runtime: Runtime, true: object) -> None:
    deadline = runtime.clock.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert runtime.clock.monotonic() < deadline
        runtime.sleep(0.002)

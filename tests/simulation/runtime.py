""":class:`drover.runtime.Runtime` under the simulated kernel: locks, events, queues and pools of fibers."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self

from drover.runtime.runtime import QueueEmpty
from tests.simulation.kernel import EPOCH, Fiber, Incarnation, Kernel

__all__ = ["SimRuntime"]


class SimRuntime:
    """The runtime of one incarnation.

    :param chance: seeds its random numbers, which are its own: what one process draws changes nothing for another.
    """

    def __init__(self, kernel: Kernel, owner: Incarnation, chance: str = "") -> None:
        self.kernel = kernel
        self.owner = owner
        self.clock = _Clock(kernel, owner)
        self.random = random.Random(f"{kernel.seed}/{owner.name}/{chance}")

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(seconds)

    def spawn(self, name: str, work: Callable[[], None]) -> _Task:
        return _Task(self.kernel, self.kernel.spawn(name, self.owner, work))

    def lock(self) -> _Lock:
        return _Lock(self)

    def event(self) -> _Event:
        return _Event(self.kernel)

    def queue(self, max_size: int = 0) -> _Queue:
        return _Queue(self, max_size)

    def pool(self, name: str, size: int) -> _Pool:
        return _Pool(self, name, size)


class _Clock:
    def __init__(self, kernel: Kernel, owner: Incarnation) -> None:
        self._kernel = kernel
        self._clocks = owner.clocks

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._kernel.now_s + self._clocks.skew_s - self._clocks.lag_s)

    def monotonic(self) -> float:
        return self._kernel.now_s - self._clocks.lag_s


class _Waiters:
    """Fibers parked on one thing."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._parked: deque[tuple[Fiber, int]] = deque()

    def park(self, timeout_s: float | None) -> bool:
        return self._kernel.wait(timeout_s, lambda fiber: self._parked.append((fiber, fiber.wakes)))

    def wake_one(self) -> None:
        while self._parked:
            if self._kernel.wake(*self._parked.popleft()):
                return

    def wake_all(self) -> None:
        while self._parked:
            self._kernel.wake(*self._parked.popleft())


class _Deadline:
    """What is left of a wait, by the clock of who waits."""

    def __init__(self, clock: _Clock, timeout_s: float | None) -> None:
        self._clock = clock
        self._at_s = None if timeout_s is None else clock.monotonic() + timeout_s

    def left_s(self) -> float | None:
        return None if self._at_s is None else self._at_s - self._clock.monotonic()

    def over(self) -> bool:
        return self._at_s is not None and self._at_s <= self._clock.monotonic()


class _Lock:
    def __init__(self, runtime: SimRuntime) -> None:
        self._clock = runtime.clock
        self._held = False
        self._waiters = _Waiters(runtime.kernel)

    def acquire(self, timeout_s: float | None = None) -> bool:
        deadline = _Deadline(self._clock, timeout_s)
        while self._held:
            if deadline.over():
                return False
            self._waiters.park(deadline.left_s())
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        self._waiters.wake_one()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Event:
    def __init__(self, kernel: Kernel) -> None:
        self._set = False
        self._waiters = _Waiters(kernel)

    def set(self) -> None:
        self._set = True
        self._waiters.wake_all()

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout_s: float | None = None) -> bool:
        if not self._set:
            self._waiters.park(timeout_s)
        return self._set


class _Queue:
    def __init__(self, runtime: SimRuntime, max_size: int) -> None:
        self._clock = runtime.clock
        self._max_size = max_size
        self._items: deque[Any] = deque()
        self._filled = _Waiters(runtime.kernel)
        self._freed = _Waiters(runtime.kernel)

    def put(self, item: Any) -> None:
        while self._max_size and len(self._items) >= self._max_size:
            self._freed.park(None)
        self._items.append(item)
        self._filled.wake_one()

    def get(self, timeout_s: float | None = None) -> Any:
        deadline = _Deadline(self._clock, timeout_s)
        while not self._items:
            if deadline.over():
                raise QueueEmpty
            self._filled.park(deadline.left_s())
        self._freed.wake_one()
        return self._items.popleft()

    def drain(self) -> list[Any]:
        items = list(self._items)
        self._items.clear()
        self._freed.wake_all()
        return items

    def __len__(self) -> int:
        return len(self._items)


class _Task:
    def __init__(self, kernel: Kernel, fiber: Fiber) -> None:
        self._kernel = kernel
        self._fiber = fiber
        self.name = fiber.name

    def join(self, timeout_s: float | None = None) -> bool:
        if not self._fiber.done:
            self._kernel.wait(timeout_s, lambda fiber: self._fiber.joiners.append((fiber, fiber.wakes)))
        return self._fiber.done

    def is_alive(self) -> bool:
        return not self._fiber.done


class _Pool:
    def __init__(self, runtime: SimRuntime, name: str, size: int) -> None:
        self.size = size
        self._runtime = runtime
        self._name = name
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0
        self._closed = False
        self._idle = _Waiters(runtime.kernel)

    def room(self) -> int:
        return 0 if self._closed else max(0, self.size - self._running - len(self._waiting))

    def submit(self, work: Callable[[], None]) -> None:
        if self._closed:
            raise RuntimeError(f"pool {self._name} is closed")
        self._waiting.append(work)
        self._start()

    def _start(self) -> None:
        while self._waiting and self._running < self.size:
            self._running += 1
            work = self._waiting.popleft()
            self._runtime.spawn(self._name, lambda work=work: self._run(work))  # type: ignore[misc]

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            if self._runtime.owner.alive:
                self._running -= 1
                self._start()
                if not self._running:
                    self._idle.wake_all()

    def close(self, timeout_s: float | None = None) -> bool:
        self._closed = True
        deadline = _Deadline(self._runtime.clock, timeout_s)
        while self._waiting or self._running:
            if deadline.over():
                return False
            self._idle.park(deadline.left_s())
        return True

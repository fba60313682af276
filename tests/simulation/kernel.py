"""The simulated kernel: virtual time, one task at a time, every wait a switch point chosen by a seed.

Tasks are greenlets; code under test stays plain and blocking.  A task belongs to an :class:`Incarnation` (one life
of a process).  When that is killed, its tasks are never resumed: a crash is not an exception, and no ``finally`` of
theirs touches the world.
"""

from __future__ import annotations

import heapq
import random
import traceback
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from greenlet import getcurrent, greenlet

from drover.runtime.runtime import QueueEmpty

__all__ = ["Dead", "Incarnation", "Kernel", "SimRuntime", "Stuck"]

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


class Dead(BaseException):
    """A task of a killed incarnation tried to touch the world (only when the world is torn down)."""


class Stuck(AssertionError):
    """Nothing can run any more, or a goal was not reached in time."""


class Incarnation:
    """One life of one process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False


class Fiber:
    """A task."""

    def __init__(self, name: str, owner: Incarnation, work: Callable[[], None], hub: greenlet) -> None:
        self.name = name
        self.owner = owner
        self.done = False
        self.joiners: list[tuple[Fiber, int]] = []
        self.wakes = 0  # a timer or a signal counts only for the wait it was made for
        self.signalled = False
        self._work = work
        self.greenlet = greenlet(self._run, parent=hub)
        self.failure: BaseException | None = None

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as exc:
            self.failure = exc
        finally:
            self.done = True


class Kernel:
    """Runs fibers until a goal holds.

    :param check: called at every switch point; raises AssertionError when a promise is broken.
    """

    def __init__(self, seed: int, check: Callable[[], None] = lambda: None) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.now_s = 0.0
        self.switches = 0
        self.check = check
        self.failures: list[tuple[str, BaseException]] = []
        self._ready: list[Fiber] = []
        self._timers: list[tuple[float, int, Fiber, int]] = []
        self._count = 0
        self._hub = getcurrent()
        self._current: Fiber | None = None
        # Every task stays referenced until it ends: collecting one would run its finally blocks.
        self._fibers: dict[int, Fiber] = {}
        self._over = False

    # --- what runtimes use -----------------------------------------------------------------------------------

    def spawn(self, name: str, owner: Incarnation, work: Callable[[], None]) -> Fiber:
        fiber = Fiber(name, owner, work, self._hub)
        self._fibers[id(fiber)] = fiber
        self._ready.append(fiber)
        return fiber

    def current(self) -> Fiber:
        if self._over or self._current is None:
            raise Dead
        return self._current

    def wait(self, timeout_s: float | None, enlist: Callable[[Fiber], None]) -> bool:
        """Park the current fiber; ``enlist`` notes it with whatever will wake it. False: the time was up."""
        fiber = self.current()
        fiber.wakes += 1
        fiber.signalled = False
        if timeout_s is not None:
            self._count += 1
            heapq.heappush(self._timers, (self.now_s + max(0.0, timeout_s), self._count, fiber, fiber.wakes))
        enlist(fiber)
        self._hub.switch()
        if self._over:
            raise Dead
        return fiber.signalled

    def wake(self, fiber: Fiber, wakes: int) -> bool:
        """Signal a parked fiber, if it still waits in that wait."""
        if fiber.wakes != wakes or fiber.done:
            return False
        fiber.wakes += 1
        fiber.signalled = True
        self._ready.append(fiber)
        return True

    def sleep(self, seconds: float) -> None:
        self.wait(max(0.0, seconds), lambda fiber: None)

    def pause(self) -> None:
        """A switch point without a wait."""
        fiber = self.current()
        self._ready.append(fiber)
        self._hub.switch()
        if self._over:
            raise Dead

    # --- the loop --------------------------------------------------------------------------------------------

    def run_until(self, goal: Callable[[], bool], limit_s: float, what: str) -> None:
        """Run until *goal* holds, looked at after each switch.

        :raises Stuck: *limit_s* of virtual time passed, or nothing can run. AssertionError of the checker.
        """
        deadline = self.now_s + limit_s
        while not goal():
            fiber = self._next(deadline)
            if fiber is None:
                raise Stuck(f"seed {self.seed}: {what}: not reached by {self.now_s:.1f} s")
            self._switch(fiber)

    def run_for(self, seconds: float) -> None:
        """Run for *seconds* of virtual time."""
        deadline = self.now_s + seconds
        while (fiber := self._next(deadline)) is not None:
            self._switch(fiber)
        self.now_s = max(self.now_s, deadline)

    def _switch(self, fiber: Fiber) -> None:
        self.switches += 1
        self._current = fiber
        fiber.greenlet.switch()
        self._current = None
        if fiber.done:
            self._fibers.pop(id(fiber), None)
            if fiber.failure is not None:
                lines = "".join(traceback.format_exception(fiber.failure))
                self.failures.append((f"{fiber.owner.name}/{fiber.name}\n{lines}", fiber.failure))
            for joiner, wakes in fiber.joiners:
                self.wake(joiner, wakes)
        self.check()

    def _next(self, deadline: float) -> Fiber | None:
        while True:
            self._due()
            runnable = [i for i, f in enumerate(self._ready) if not f.owner.frozen]
            while runnable:
                index = runnable[self.random.randrange(len(runnable))]
                fiber = self._ready.pop(index)
                if fiber.owner.alive and not fiber.done:
                    return fiber
                runnable = [i for i, f in enumerate(self._ready) if not f.owner.frozen]
            if not self._timers or self._timers[0][0] > deadline:
                return None
            self.now_s = max(self.now_s, self._timers[0][0])

    def _due(self) -> None:
        while self._timers and self._timers[0][0] <= self.now_s:
            _, _, fiber, wakes = heapq.heappop(self._timers)
            if fiber.owner.alive and fiber.wakes == wakes and not fiber.done:
                fiber.wakes += 1
                self._ready.append(fiber)

    def close(self) -> None:
        """End the world: tasks that are left are unwound, and whatever they touch refuses."""
        self._over = True
        for fiber in list(self._fibers.values()):
            if fiber.greenlet:  # begun and not ended
                fiber.greenlet.throw(Dead)


class SimRuntime:
    """:class:`drover.runtime.Runtime` of one incarnation."""

    def __init__(self, kernel: Kernel, owner: Incarnation) -> None:
        self.kernel = kernel
        self.owner = owner
        self.clock = _Clock(kernel)
        self.random = kernel.random

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(seconds)

    def spawn(self, name: str, work: Callable[[], None]) -> _Task:
        return _Task(self.kernel, self.kernel.spawn(name, self.owner, work))

    def lock(self) -> _Lock:
        return _Lock(self.kernel)

    def event(self) -> _Event:
        return _Event(self.kernel)

    def queue(self, max_size: int = 0) -> _Queue:
        return _Queue(self.kernel, max_size)

    def pool(self, name: str, size: int) -> _Pool:
        return _Pool(self, name, size)


class _Clock:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._kernel.now_s)

    def monotonic(self) -> float:
        return self._kernel.now_s


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


class _Lock:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._held = False
        self._waiters = _Waiters(kernel)

    def acquire(self, timeout_s: float | None = None) -> bool:
        deadline = None if timeout_s is None else self._kernel.now_s + timeout_s
        while self._held:
            left = None if deadline is None else deadline - self._kernel.now_s
            if left is not None and left <= 0:
                return False
            self._waiters.park(left)
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
    def __init__(self, kernel: Kernel, max_size: int) -> None:
        self._kernel = kernel
        self._max_size = max_size
        self._items: deque[Any] = deque()
        self._filled = _Waiters(kernel)
        self._freed = _Waiters(kernel)

    def put(self, item: Any) -> None:
        while self._max_size and len(self._items) >= self._max_size:
            self._freed.park(None)
        self._items.append(item)
        self._filled.wake_one()

    def get(self, timeout_s: float | None = None) -> Any:
        deadline = None if timeout_s is None else self._kernel.now_s + timeout_s
        while not self._items:
            left = None if deadline is None else deadline - self._kernel.now_s
            if left is not None and left <= 0:
                raise QueueEmpty
            self._filled.park(left)
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
        deadline = None if timeout_s is None else self._runtime.kernel.now_s + timeout_s
        while self._waiting or self._running:
            left = None if deadline is None else deadline - self._runtime.kernel.now_s
            if left is not None and left <= 0:
                return False
            self._idle.park(left)
        return True

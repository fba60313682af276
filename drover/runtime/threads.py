"""The production runtime: one native thread a task, the kernel's clocks, the system's chance.

Nothing here polls: an idle task, pool or queue waits in the kernel.  Threads are daemons; a process ends when
its main thread does, after it has stopped its services (:mod:`drover.runtime.process`).
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, Self, TypeVar

from drover import log
from drover.runtime.runtime import QueueEmpty

__all__ = ["ThreadRuntime"]

LOG = log.get(__name__)

T = TypeVar("T")


class ThreadRuntime:
    """Implements :class:`drover.runtime.Runtime`.

    :param seed: makes :attr:`random` and :meth:`uuid` repeatable, for tests; threads themselves stay free.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.clock = _Clock()
        self.random = random.Random(seed)
        self._seeded = seed is not None

    def uuid(self) -> str:
        if self._seeded:
            return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))
        return str(uuid.uuid4())

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def spawn(self, name: str, work: Callable[[], None]) -> _Task:
        return _Task(name, work)

    def lock(self) -> _Lock:
        return _Lock()

    def event(self) -> _Event:
        return _Event()

    def queue(self, max_size: int = 0) -> _Queue[object]:
        return _Queue(max_size)

    def pool(self, name: str, size: int) -> _Pool:
        return _Pool(name, size)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class _Lock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self, timeout_s: float | None = None) -> bool:
        return self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s))

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _Event:
    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        return self._event.wait(timeout_s)


class _Queue(Generic[T]):
    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._items: deque[T] = deque()
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._freed = threading.Condition(lock)

    def put(self, item: T) -> None:
        with self._freed:
            if self._max_size > 0:
                self._freed.wait_for(lambda: len(self._items) < self._max_size)
            self._items.append(item)
            self._filled.notify()

    def get(self, timeout_s: float | None = None) -> T:
        with self._filled:
            if not self._filled.wait_for(lambda: bool(self._items), timeout_s):
                raise QueueEmpty
            self._freed.notify()
            return self._items.popleft()

    def drain(self) -> list[T]:
        with self._freed:
            items = list(self._items)
            self._items.clear()
            self._freed.notify_all()
            return items

    def __len__(self) -> int:
        return len(self._items)


class _Task:
    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self._work: Callable[[], None] | None = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        work, self._work = self._work, None  # what the work holds is freed as soon as it ends
        if work is not None:
            _guarded(self.name, work)


class _Pool:
    """Threads are started as work comes, up to *size*, and then kept."""

    def __init__(self, name: str, size: int) -> None:
        if size < 1:
            raise ValueError("a pool has at least one worker")
        self.name = name
        self.size = size
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0
        self._idle_threads = 0
        self._threads = 0
        self._closed = False
        lock = threading.Lock()
        self._work_came = threading.Condition(lock)
        self._work_ended = threading.Condition(lock)

    def room(self) -> int:
        with self._work_came:
            return 0 if self._closed else max(0, self.size - self._running - len(self._waiting))

    def submit(self, work: Callable[[], None]) -> None:
        """:raises RuntimeError: the pool is closed."""
        with self._work_came:
            if self._closed:
                raise RuntimeError(f"pool {self.name} is closed")
            self._waiting.append(work)
            if self._idle_threads < len(self._waiting) and self._threads < self.size:
                self._threads += 1
                self._start_thread(self._threads)
            else:
                self._work_came.notify()

    def close(self, timeout_s: float | None = None) -> bool:
        with self._work_came:
            self._closed = True
            self._work_came.notify_all()
            return self._work_ended.wait_for(lambda: not (self._waiting or self._running), timeout_s)

    def _start_thread(self, number: int) -> None:
        threading.Thread(target=self._loop, name=f"{self.name}-{number}", daemon=True).start()

    def _loop(self) -> None:
        while (work := self._take()) is not None:
            _guarded(self.name, work)
            del work  # an idle thread must not keep alive what its last work held
            with self._work_ended:
                self._running -= 1
                self._work_ended.notify_all()

    def _take(self) -> Callable[[], None] | None:
        with self._work_came:
            self._idle_threads += 1
            self._work_came.wait_for(lambda: self._waiting or self._closed)
            self._idle_threads -= 1
            if not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()


def _guarded(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException:  # the last resort of every thread: nobody above would see it
        LOG.exception("task failed", task=name)

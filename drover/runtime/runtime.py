"""What a process may ask of the world: protocols only, no implementation and no I/O."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, TypeVar

__all__ = ["Clock", "Event", "Lock", "Pool", "Queue", "QueueEmpty", "Random", "Runtime", "Task"]

T = TypeVar("T")


class QueueEmpty(Exception):
    """:meth:`Queue.get` found nothing within its timeout."""


class Clock(Protocol):
    """Wall time for records, monotonic time for durations and deadlines."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds; never steps back, means nothing outside this process."""


class Lock(AbstractContextManager["object"], Protocol):
    """A mutual exclusion lock, not re-entrant."""

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Take it; ``False`` when *timeout_s* passed."""

    def release(self) -> None: ...


class Event(Protocol):
    """A flag that tasks wait for."""

    def set(self) -> None: ...

    def clear(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until set; ``False`` when *timeout_s* passed first."""


class Queue(Protocol[T]):
    """First in, first out, between tasks."""

    def put(self, item: T) -> None:
        """Append; waits while a bounded queue is full."""

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest.

        :raises QueueEmpty: nothing came within *timeout_s*.
        """

    def drain(self) -> list[T]:
        """Take everything that is there now; never waits."""

    def __len__(self) -> int: ...


class Task(Protocol):
    """A running piece of work."""

    @property
    def name(self) -> str: ...

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; ``False`` when *timeout_s* passed first."""

    def is_alive(self) -> bool: ...


class Pool(Protocol):
    """At most *size* pieces of work of one kind at once; more wait in order."""

    @property
    def size(self) -> int: ...

    def room(self) -> int:
        """How many more may be submitted and start at once."""

    def submit(self, work: Callable[[], None]) -> None:
        """Queue *work*. An exception out of it is logged, never raised elsewhere."""

    def close(self, timeout_s: float | None = None) -> bool:
        """Take no more work and wait for what runs; ``False`` when *timeout_s* passed first."""


class Random(Protocol):
    """The part of :class:`random.Random` that logic may use."""

    def random(self) -> float: ...

    def uniform(self, a: float, b: float, /) -> float: ...

    def randrange(self, stop: int, /) -> int: ...

    def randbytes(self, n: int, /) -> bytes: ...


class Runtime(Protocol):
    """Everything a process needs of time, tasks and chance."""

    @property
    def clock(self) -> Clock: ...

    @property
    def random(self) -> Random: ...

    def uuid(self) -> str:
        """A fresh random UUID in its canonical text form."""

    def sleep(self, seconds: float) -> None: ...

    def spawn(self, name: str, work: Callable[[], None]) -> Task:
        """Run *work* beside the caller. An exception out of it is logged with the name."""

    def lock(self) -> Lock: ...

    def event(self) -> Event: ...

    def queue(self, max_size: int = 0) -> Queue[object]:
        """An unbounded queue, or one of *max_size*."""

    def pool(self, name: str, size: int) -> Pool: ...

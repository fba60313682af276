"""A runtime whose clock stands still until the test, or a wait, moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from drover.runtime import Clock, Event
from drover.runtime.threads import ThreadRuntime

__all__ = ["ManualClock", "jumping_runtime", "manual_runtime"]


class ManualClock:
    def __init__(self) -> None:
        self._elapsed_s = 1000.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    def pass_by(self, seconds: float) -> None:
        self._elapsed_s += seconds


class _ManualRuntime(ThreadRuntime):
    def __init__(self, clock: Clock) -> None:
        super().__init__(seed=5)
        self.clock = clock  # type: ignore[assignment]


class _JumpingEvent:
    """A wait takes no time, but moves the clock."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._event = threading.Event()
        self.set, self.clear, self.is_set = self._event.set, self._event.clear, self._event.is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        assert timeout_s is not None, "nobody else is there to end the wait"
        if not self.is_set():
            self._clock.pass_by(timeout_s)
        return self.is_set()


class _JumpingRuntime(_ManualRuntime):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self._manual = clock

    def event(self) -> Event:  # type: ignore[override]
        return _JumpingEvent(self._manual)

    def sleep(self, seconds: float) -> None:
        self._manual.pass_by(seconds)


def manual_runtime() -> tuple[ThreadRuntime, ManualClock]:
    clock = ManualClock()
    return _ManualRuntime(clock), clock


def jumping_runtime() -> tuple[ThreadRuntime, ManualClock]:
    """For one task alone: who waits or sleeps moves the clock instead."""
    clock = ManualClock()
    return _JumpingRuntime(clock), clock

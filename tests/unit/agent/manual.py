"""A runtime whose clock stands still until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from drover.runtime import Clock
from drover.runtime.threads import ThreadRuntime

__all__ = ["ManualClock", "manual_runtime"]


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


def manual_runtime() -> tuple[ThreadRuntime, ManualClock]:
    clock = ManualClock()
    return _ManualRuntime(clock), clock

"""Waiting longer after each failure, per subject."""

from __future__ import annotations

__all__ = ["Backoff"]


class Backoff:
    """Delays from *first_s*, doubled with each failure of the same subject, up to *most_s*."""

    def __init__(self, *, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._waits: dict[str, tuple[float, float]] = {}  # subject → (not before, last delay)

    def ready(self, subject: str, now_s: float) -> bool:
        """Whether it may be tried at monotonic time *now_s*."""
        return self._waits.get(subject, (now_s, 0.0))[0] <= now_s

    def failed(self, subject: str, now_s: float) -> float:
        """It failed: the seconds until it may be tried again."""
        delay_s = min(self._most_s, 2 * self._waits.get(subject, (0.0, self._first_s / 2))[1])
        self._waits[subject] = (now_s + delay_s, delay_s)
        return delay_s

    def succeeded(self, subject: str) -> None:
        self._waits.pop(subject, None)

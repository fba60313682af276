"""Times as Drover keeps them: aware UTC for moments, seconds of a monotonic clock for durations."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["UTC", "age_s", "from_iso", "to_iso"]


def to_iso(moment: datetime) -> str:
    """ISO 8601 with microseconds and ``Z``; *moment* must be aware."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """The aware UTC moment of :func:`to_iso`.

    :raises ValueError: no ISO 8601 time, or one without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return moment.astimezone(UTC)


def age_s(since: datetime, now: datetime) -> float:
    """Seconds from *since* to *now*, never negative (clocks step back)."""
    return max(0.0, (now - since).total_seconds())

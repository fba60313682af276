"""Orphans that their hosts show no more: by this conductor's own monotonic clock, as silence is.

Moments in rows are of several clocks, one of which may be ahead of the others by minutes.  What counts is that a row
does not change while its host speaks.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from drover.db.orphan import Key

__all__ = ["Unseen"]


@dataclass(frozen=True, slots=True)
class _Mark:
    seen_at: str
    since: float  # monotonic


@dataclass(slots=True)
class Unseen:
    """What one conductor has seen of the rows."""

    after_s: float
    _marks: dict[Key, _Mark] = field(default_factory=dict)

    def gone(self, shown: Mapping[Key, str], quiet: Container[str], now: float) -> dict[Key, str]:
        """Those of *shown* that were not shown anew for so long.

        :param shown: all rows, with when their host last showed them.
        :param quiet: hosts that are not heard now: of these nothing is learnt.
        """
        before, self._marks = self._marks, {}
        for key, seen_at in shown.items():
            mark = before.get(key)
            if mark is None or mark.seen_at != seen_at or key[0] in quiet:
                mark = _Mark(seen_at, now)
            self._marks[key] = mark
        return {key: mark.seen_at for key, mark in self._marks.items() if now - mark.since > self.after_s}

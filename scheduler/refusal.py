"""The first filter that refused each host, a byte a host: every host's answer for the price of a short text.

A byte counts, among the filters that refused any host at all, those that the host passed; so it is the place of
its refuser in that list, or the list's length for a host that passed.  Which filters refused any is seen from the
funnel.  Bytes are in the order of the hosts' names, which are not kept: a checksum of them says whether the fleet of
today still has the same.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

__all__ = ["Roster", "refuser", "refusers", "tally"]

Funnel = Sequence[tuple[str, int]]


def refusers(funnel: Funnel) -> tuple[str, ...]:
    """The filters of a funnel that refused any host, in order."""
    return tuple(name for (_, before), (name, left) in pairwise(funnel) if left < before)


def refuser(funnel: Funnel, refusals: bytes, place: int) -> str:
    """The filter that refused the host at *place* first; "" when it passed them all."""
    return (*refusers(funnel), "")[refusals[place]]


def tally(funnel: Funnel, refusals: bytes) -> tuple[tuple[str, int], ...]:
    """How many hosts each filter refused first, the most first; hosts that passed are not counted."""
    names = refusers(funnel)
    counts = np.bincount(np.frombuffer(refusals, dtype=np.uint8), minlength=len(names))[: len(names)]
    return tuple(Counter(dict(zip(names, counts.tolist(), strict=True))).most_common())


class Roster:
    """Checksums of the names of a fleet's hosts, worked out once for each fleet that is seen."""

    def __init__(self) -> None:
        self._rows: Mapping[str, int] | None = None
        self._sum = 0

    def checksum(self, rows: Mapping[str, int]) -> int:
        """Of the names in *rows*, :attr:`HostTable.rows`; never 0, which stands for a decision that has none.

        Tables of the same hosts mostly share *rows*, which then is not looked at again.
        """
        if rows is not self._rows:
            self._rows, self._sum = rows, zlib.crc32("\n".join(rows).encode()) or 1
        return self._sum

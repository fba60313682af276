"""How many more of one kind fit: the fleet filled, in thought, with equal requests until the last one is refused.

It is what :func:`scheduler.decide.decide` would place, because that is what is asked; no arithmetic beside it can go
astray from the rules.
"""

from __future__ import annotations

from collections import Counter
from itertools import takewhile

from drover.objects.selection import Capacity, HostCapacity
from scheduler.decide import Choice, Limits, decide
from scheduler.host_table import HostTable
from scheduler.plugin import Chain
from scheduler.refusal import refuser, tally
from scheduler.spec import PlacementSpec

__all__ = ["capacity"]

#: hosts that an answer names; the sums count them all
_SHOWN = 1000


def capacity(table: HostTable, spec: PlacementSpec, chain: Chain, most: int) -> Capacity:
    """Count up to *most* placements of *spec*; what hosts say when they are full belongs to the first refusal."""
    limits = Limits(alternates=0, weighed=0, explained=_SHOWN, explained_beside=0)
    choices = decide(table, [spec] * most, chain, limits)
    placed = list(takewhile(lambda choice: choice.host, choices))
    refusal = choices[len(placed)] if len(placed) < most else None
    counts = Counter(choice.host for choice in placed)
    ends = _ends(table, refusal) if refusal is not None else {}
    by_room = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Capacity(
        count=len(placed),
        complete=refusal is not None,
        hosts=tuple(_host(name, count, ends) for name, count in by_room[:_SHOWN]),
        roomy=len(counts),
        full=tally(refusal.report.funnel, refusal.report.refusals) if refusal is not None else (),
    )


def _ends(table: HostTable, refusal: Choice) -> dict[str, tuple[str, str]]:
    """By host the filter that refused it at the end, and its words where they were kept."""
    report = refusal.report
    words = {host: said for host, _, said in report.refused}
    return {
        name: (refuser(report.funnel, report.refusals, place), words.get(name, ""))
        for place, name in enumerate(table.rows)
    }


def _host(name: str, count: int, ends: dict[str, tuple[str, str]]) -> HostCapacity:
    by, words = ends.get(name, ("", ""))
    return HostCapacity(host=name, count=count, refuser=by, words=words)

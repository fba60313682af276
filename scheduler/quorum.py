"""Requests for several instances: so many of them find hosts as their minimum count says, or none does.

That binds where all of a request are decided in one pass.  Where some have gone their way already (a member was
cancelled, another scheduler died after its commit), the others are placed one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from drover.db.waiting import Waiting
from scheduler.decide import Choice, Limits, decide
from scheduler.host_table import HostTable
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec

__all__ = ["Quorum", "decide_together", "quorums"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """All operations of one request."""

    operation_ids: tuple[str, ...]
    least: int

    def broken(self, placed: Collection[str]) -> bool:
        """Whether some of them are among *placed*, but too few."""
        return 0 < sum(each in placed for each in self.operation_ids) < self.least


def quorums(requests: Sequence[Waiting]) -> list[Quorum]:
    """Those that bind in this batch, in its order."""
    found: dict[tuple[str, int, int], list[str]] = {}
    for each in requests:
        if each.min_count > 1:
            found.setdefault((each.request_id, each.count, each.min_count), []).append(each.operation_id)
    return [
        Quorum(operation_ids=tuple(ids), least=least) for (_, count, least), ids in found.items() if len(ids) == count
    ]


def decide_together(
    table: HostTable, wanted: Sequence[tuple[str, PlacementSpec]], bound: Sequence[Quorum], chain: Chain, limits: Limits
) -> list[Choice]:
    """:func:`scheduler.decide.decide`, but a request that cannot have its least takes nothing from those after it.

    :param wanted: by operation id.
    """
    refused: dict[str, Choice] = {}
    while True:
        left = [each for each in wanted if each[0] not in refused]
        decided = decide(table, [spec for _, spec in left], chain, limits)
        choices = {id_: choice for (id_, _), choice in zip(left, decided, strict=True)} | refused
        placed = {id_ for id_, choice in choices.items() if choice.host}
        short = next((each for each in bound if each.broken(placed)), None)
        if short is None:
            return [choices[id_] for id_, _ in wanted]
        refused |= dict.fromkeys(short.operation_ids, _none_of(short, choices))


def _none_of(short: Quorum, choices: dict[str, Choice]) -> Choice:
    """What all of a request get instead of what some of them could have: the first refusal among them."""
    first = next(choices[each] for each in short.operation_ids if not choices[each].host)
    fit = sum(bool(choices[each].host) for each in short.operation_ids)
    words = f"{fit} of {len(short.operation_ids)} fit, at least {short.least} were asked for"
    return Choice(host="", report=replace(first.report, short=words))

"""How one host stands to one request: by the decisions that were kept, and by every rule as it is now."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from drover.db.wish import Placed
from drover.objects.operation import Decision
from drover.objects.selection import HostExplanation, Then, Verdict
from scheduler.decide import Limits, decide
from scheduler.host_table import Count, HostTable, amounts
from scheduler.plugin import Chain
from scheduler.refusal import Roster, refuser
from scheduler.spec import PlacementSpec

__all__ = ["explain", "present"]


def explain(
    table: HostTable, host: str, spec: PlacementSpec, chain: Chain, decisions: Iterable[Decision]
) -> HostExplanation:
    """The whole of it for a *host* of *table*."""
    place = table.rows[host]
    everything = Limits(alternates=len(table), weighed=len(table), explained=0, explained_beside=0)
    (choice,) = decide(table, [spec], chain, everything)
    weights = {name: (parts, total) for name, parts, total in choice.report.weights}
    parts, total = weights.get(host, ({}, 0.0))
    now = table.scratch()
    if spec.group is not None:
        now.set_members(dict(spec.group.hosts))
    checksum = Roster().checksum(table.rows)
    return HostExplanation(
        host=host,
        then=tuple(_then(each, host, place, checksum) for each in decisions),
        verdicts=tuple(
            Verdict(filter=each.name, words=each.explain(now, place, spec)) for each in chain.asked(now, spec).filters
        ),
        weights=parts,
        total=total,
        passed=choice.report.funnel[-1][1],
        better=sum(other > total for _, other in weights.values()) if host in weights else 0,
    )


def present(table: HostTable, spec: PlacementSpec, held: Sequence[Placed]) -> tuple[HostTable, PlacementSpec]:
    """Table and request as if the instance had no place yet: what it holds must not stand against itself."""
    fleet = table.scratch()
    for each in held:
        if (place := table.rows.get(each.host)) is None:
            continue
        fleet.give_back(place, amounts(each.amount))
        fleet.counts[Count.INSTANCES, place] -= 1
        state = fleet.hardware[place]
        if each.hardware in state.claims:
            others = [*state.claims]
            others.remove(each.hardware)
            fleet = fleet.with_hardware(place, state.holding(others))
    if spec.group is None:
        return fleet, spec
    members = Counter(dict(spec.group.hosts)) - Counter(each.host for each in held)
    return fleet, dataclasses.replace(spec, group=dataclasses.replace(spec.group, hosts=tuple(sorted(members.items()))))


def _then(decision: Decision, host: str, place: int, checksum: int) -> Then:
    """From the words, if they were kept for this host, else from its byte, if the fleet has the same hosts still."""
    outcome, by, words = "unknown", "", ""
    said = {name: (refused_by, why) for name, refused_by, why in decision.refused}
    if decision.chosen == host:
        outcome = "chosen"
    elif host in said:
        outcome, (by, words) = "refused", said[host]
    elif host in {name for name, _, _ in decision.weights}:
        outcome = "passed"
    elif decision.roster == checksum:
        by = refuser(decision.funnel, decision.refusals, place)
        outcome = "refused" if by else "passed"
    return Then(attempt=decision.attempt, at=decision.at, outcome=outcome, refuser=by, words=words)

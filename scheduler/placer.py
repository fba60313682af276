"""One batch: read what waits and what hosts have, decide, claim.

Every step may be repeated after any failure: what was committed is no longer waiting, and what was not is
decided anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from drover.db import claim, decision, operation, waiting
from drover.db.claim import Claim, ClaimState, Outcome
from drover.db.engine import Database
from drover.db.waiting import Waiting
from drover.objects.operation import Decision, ServiceLog, StepRecord, refusal
from drover.runtime import Clock
from scheduler.decide import Choice, Limits
from scheduler.fleet import Fleet
from scheduler.host_table import HostTable
from scheduler.plugin import Chain
from scheduler.quorum import Quorum, decide_together, quorums
from scheduler.refusal import Roster
from scheduler.spec import PlacementSpec, spec_of

__all__ = ["Batch", "Placer"]


class Batch:
    """Operations on their way, and what became of them."""

    def __init__(self, operation_ids: Iterable[str], *, whole: bool = True) -> None:
        self.left = set(operation_ids)
        self.whole = whole  # of a request for several instances all are taken, not only those named
        self.dispatched: list[str] = []
        self.unplaceable: list[str] = []
        self.lost: dict[str, tuple[str, ...]] = {}  # hosts whose last room another claim took, by operation
        self.full: dict[str, set[str]] = {}  # hosts that had no place when all was given back (see Quorum), likewise
        self.tried: set[str] = set()  # given to a transaction whose end is not known

    def settle(self, waiting: Iterable[str]) -> None:
        """Only *waiting* still wait. What was tried and is gone may be ours: saying so twice does no harm."""
        gone = self.left.difference(waiting)
        self.dispatched += sorted(gone & self.tried)
        self.left -= gone
        self.tried.clear()


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A request with its choice; *document* is the decision as long as no candidate is lost."""

    request: Waiting
    spec: PlacementSpec
    choice: Choice
    document: bytes
    roster: int

    def claim(self) -> Claim:
        """The claim to make. A request that no host can take claims nothing, but is seen to be waiting still."""
        choice = self.choice
        return Claim(
            operation_id=self.request.operation_id,
            attempt=self.request.attempt,
            instance_uuid=self.request.instance_uuid,
            candidates=(choice.host, *choice.alternates) if choice.host else (),
            ask=self.spec.resources,
            hardware=self.spec.hardware,
            group=self.request.group,
        )


@dataclass(slots=True)
class _Results:
    """What one transaction comes to; counts only when it was committed."""

    dispatched: dict[str, int] = field(default_factory=dict)  # attempt by operation
    unplaceable: list[str] = field(default_factory=list)
    lost: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)


class Placer:
    """For one task: it owns the copy of the fleet."""

    def __init__(self, name: str, clock: Clock, database: Database, fleet: Fleet, chain: Chain, limits: Limits) -> None:
        self._service = f"scheduler@{name}"
        self._clock = clock
        self._database = database
        self._fleet = fleet
        self._chain = chain
        self._limits = limits
        self._roster = Roster()

    def advance(self, batch: Batch) -> None:
        """One round. What lost every candidate to other claims stays in ``batch.left`` for the next.

        :raises drover.errors.Unavailable: try again; what was committed is found at the next round.
        """
        began, started_at = self._clock.monotonic(), self._clock.now()
        with self._database.read() as conn:
            requests = _waiting(conn, batch)
            table = self._fleet.refresh(conn)
        batch.settle(request.operation_id for request in requests)
        bound = quorums(requests)
        proposals = self._propose(table, requests, bound, batch.full, started_at)
        batch.left.intersection_update(each.request.operation_id for each in proposals)
        if not proposals:
            return
        decided_s = self._clock.monotonic() - began
        batch.tried.update(batch.left)
        try:
            with self._database.write() as conn:
                results = _write(conn, proposals, bound, batch.lost, self._clock.now())
                claimed_s = self._clock.monotonic() - began - decided_s
                steps = _steps(decided_s, claimed_s, len(results.dispatched))
                operation.add_logs(
                    conn,
                    [
                        (done, ServiceLog(service=self._service, attempt=attempt, started_at=started_at, steps=steps))
                        for done, attempt in results.dispatched.items()
                    ],
                )
        except _TooFewError as exc:
            results = _Results(lost={id_: (*batch.lost.get(id_, ()), host) for id_, host in exc.full.items()})
            for id_, host in exc.full.items():
                batch.full.setdefault(id_, set()).add(host)
        batch.tried.clear()
        batch.dispatched += results.dispatched
        batch.unplaceable += results.unplaceable
        batch.lost |= results.lost
        batch.left.difference_update(results.dispatched, results.unplaceable, results.stale)

    def _propose(
        self,
        table: HostTable,
        requests: Sequence[Waiting],
        bound: Sequence[Quorum],
        full: Mapping[str, set[str]],
        at: datetime,
    ) -> list[_Proposal]:
        """What is to be claimed and told of *requests*."""
        if not requests:
            return []
        wanted = [(each.operation_id, spec_of(each, self._chain.aliases)) for each in requests]
        if full:
            wanted = [(id_, _without(spec, full.get(id_, set()))) for id_, spec in wanted]
        choices = decide_together(table, wanted, bound, self._chain, self._limits)
        roster = self._roster.checksum(table.rows)
        documents: dict[int, bytes] = {}  # by report: equal requests share both
        proposals = []
        for request, (_, spec), choice in zip(requests, wanted, choices, strict=True):
            if _is_known(request, choice):
                continue
            document = documents.get(id(choice.report))
            if document is None:
                document = documents[id(choice.report)] = decision.pack(_decision(request, choice, roster, at))
            proposals.append(_Proposal(request, spec, choice, document, roster))
        return proposals


def _waiting(conn: Connection, batch: Batch) -> list[Waiting]:
    """Those of the batch that wait; of a request for several instances all, unless the batch is not *whole*."""
    found = waiting.waiting(conn, batch.left)
    others = waiting.together(conn, found) - batch.left if batch.whole else set()
    if not others:
        return found
    batch.left |= others
    return waiting.waiting(conn, batch.left)


def _is_known(request: Waiting, choice: Choice) -> bool:
    """Whether it waits for room by this very refusal: its record says so already, and nobody need be told again."""
    words = "" if choice.host or not request.waits else refusal(choice.report.funnel, choice.report.short)
    return bool(words) and request.waits == words


def _decision(request: Waiting, choice: Choice, roster: int, at: datetime, lost: tuple[str, ...] = ()) -> Decision:
    return Decision(
        operation_id=request.operation_id,
        attempt=request.attempt,
        chosen=choice.host,
        funnel=choice.report.funnel,
        refused=choice.report.refused,
        weights=choice.report.weights,
        lost=lost,
        refusals=choice.report.refusals,
        short=choice.report.short,
        roster=roster,
        at=at,
    )


def _without(spec: PlacementSpec, hosts: set[str]) -> PlacementSpec:
    return replace(spec, excluded_hosts=tuple(sorted(hosts.union(spec.excluded_hosts))))


class _TooFewError(Exception):
    """Other claims took what a request could not do without. Nothing of the batch is to be committed.

    *full* are the hosts that were held and had no place, by operation: asked again, they would say the same.
    """

    def __init__(self, full: dict[str, str]) -> None:
        super().__init__()
        self.full = full


def _write(
    conn: Connection,
    proposals: Sequence[_Proposal],
    bound: Sequence[Quorum],
    lost_before: dict[str, tuple[str, ...]],
    now: datetime,
) -> _Results:
    """:raises _TooFewError: fewer of a request got a place than it must have."""
    outcomes = claim.claim(conn, [proposal.claim() for proposal in proposals], now)
    results = _Results()
    entries: list[decision.Entry] = []
    for proposal, outcome in zip(proposals, outcomes, strict=True):
        request = proposal.request
        lost = lost_before.get(request.operation_id, ()) + outcome.lost
        if _sort(results, proposal, outcome, lost):
            document = proposal.document
            if lost:
                document = decision.pack(_decision(request, proposal.choice, proposal.roster, now, lost))
            entries.append(
                decision.Entry(
                    operation_id=request.operation_id, attempt=request.attempt, chosen=outcome.host, document=document
                )
            )
    if any(each.broken(results.dispatched) for each in bound):
        first = {each.request.operation_id: each.choice.host for each in proposals}
        raise _TooFewError({id_: first[id_] for id_ in results.lost})
    decision.put(conn, entries)
    return results


def _sort(results: _Results, proposal: _Proposal, outcome: Outcome, lost: tuple[str, ...]) -> bool:
    """Note an outcome; whether it ends this attempt's scheduling and its decision is kept."""
    match outcome.state:
        case ClaimState.CLAIMED:
            results.dispatched[outcome.operation_id] = proposal.request.attempt
            return True
        case ClaimState.LOST if not proposal.choice.host:
            results.unplaceable.append(outcome.operation_id)
            return True
        case ClaimState.LOST:
            results.lost[outcome.operation_id] = lost
        case ClaimState.STALE:
            results.stale.append(outcome.operation_id)
    return False


def _steps(decided_s: float, claimed_s: float, together: int) -> tuple[StepRecord, ...]:
    """For ``drover trace``. The claim's commit is not in it: this is written before."""
    return (
        StepRecord(name="decide", at_s=0.0, duration_s=round(decided_s, 6)),
        StepRecord(
            name="claim",
            at_s=round(decided_s, 6),
            duration_s=round(claimed_s, 6),
            detail=f"{together} in one transaction",
        ),
    )

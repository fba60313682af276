"""Questions of operators: they read the fleet anew, decide in thought, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from drover import errors
from drover.db import decision, wish
from drover.db.engine import Database
from drover.objects.operation import Decision
from drover.objects.selection import (
    Capacity,
    HostExplanation,
    RebalancePlan,
    Selection,
    SelectionReply,
    SelectionRequest,
)
from drover.runtime import Runtime
from scheduler.capacity import capacity
from scheduler.decide import Choice, Limits, decide
from scheduler.explanation import explain, present
from scheduler.fleet import Fleet
from scheduler.host_table import HostTable
from scheduler.plugin import Chain
from scheduler.rebalance import Guest, fullest, rebalance
from scheduler.spec import PlacementSpec, spec_of

__all__ = ["Query"]

MOST_SELECTIONS = 1000
MOST_MOVES = 100
#: guests that are counted at most, about two seconds' work over 10,000 hosts; those with hardware go one at a time
MOST_COUNTED = 50_000
MOST_COUNTED_SINGLY = 1000
#: hosts whose guests a plan may move
SOURCES = 2 * MOST_MOVES


class Query:
    """One question at a time: a second one is refused, so that a worker is left for nudges.

    It keeps no copy of the fleet, which would be one more in memory for the sake of a question an hour.
    """

    def __init__(self, runtime: Runtime, database: Database, chain: Chain, limits: Limits) -> None:
        self._clock = runtime.clock
        self._database = database
        self._chain = chain
        self._limits = limits
        self._gate = runtime.lock()

    def explain(self, operation_id: str, host: str) -> HostExplanation:
        """:raises errors.OperationNotFound: :raises errors.HostNotFound: there is none."""
        with self._turn():
            with self._database.read() as conn:
                wanted = wish.of_operation(conn, operation_id)
                held = wish.placements_of(conn, wanted.instance_uuid)
                decisions = decision.of_operation(conn, operation_id)
                table = self._table(conn)
            if host not in table.rows:
                raise errors.HostNotFound(ref=host)
            fleet, spec = present(table, spec_of(wanted, self._chain.aliases), held)
            return explain(fleet, host, spec, self._chain, decisions)

    def select(self, project_id: str, request: SelectionRequest) -> SelectionReply:
        """:raises errors.InvalidCount: it is not 1 to 1,000. Kinds of NotFound, AmbiguousName, InvalidFlavor."""
        if not 1 <= request.count <= MOST_SELECTIONS:
            raise errors.InvalidCount(count=request.count, min_count=1, reason=f"at most {MOST_SELECTIONS}")
        with self._turn():
            with self._database.read() as conn:
                spec = self._spec(conn, project_id, request)
                table = self._table(conn)
            choices = decide(table, [spec] * request.count, self._chain, self._limits)
        placed = [choice for choice in choices if choice.host]
        refused = [choice for choice in choices if not choice.host]
        return SelectionReply(
            selections=tuple(Selection(host=choice.host, alternates=choice.alternates) for choice in placed),
            first=self._decision(placed[0]) if placed else None,
            refusal=self._decision(refused[0]) if refused else None,
        )

    def capacity(self, project_id: str, request: SelectionRequest) -> Capacity:
        """:raises errors.DroverError: kinds of NotFound, AmbiguousName, InvalidFlavor."""
        with self._turn():
            with self._database.read() as conn:
                spec = self._spec(conn, project_id, request)
                table = self._table(conn)
            return capacity(table, spec, self._chain, MOST_COUNTED_SINGLY if spec.hardware else MOST_COUNTED)

    def rebalance(self, most: int) -> RebalancePlan:
        """:raises errors.BadInput: *most* is not 1 to 100."""
        if not 1 <= most <= MOST_MOVES:
            raise errors.BadInput(reason=f"a plan has 1 to {MOST_MOVES} moves, not {most}")
        with self._turn():
            with self._database.read() as conn:
                table = self._table(conn)
                placed = wish.of_guests(conn, fullest(table, SOURCES))
            guests = [
                Guest(
                    uuid=wanted.instance_uuid,
                    name=wanted.instance_name,
                    host=host,
                    spec=spec_of(wanted, self._chain.aliases),
                )
                for host, wanted in placed
            ]
            return rebalance(table, guests, self._chain, most)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._gate.acquire(0.0):
            raise errors.Unavailable(what="scheduler", detail="it is busy with another question")
        try:
            yield
        finally:
            self._gate.release()

    def _spec(self, conn: Connection, project_id: str, request: SelectionRequest) -> PlacementSpec:
        return spec_of(wish.of_request(conn, project_id, request), self._chain.aliases)

    def _table(self, conn: Connection) -> HostTable:
        """The whole fleet as it is."""
        return Fleet(self._clock, 0.0, self._chain).refresh(conn)

    def _decision(self, choice: Choice) -> Decision:
        """As it would be kept, but for the bytes about every host."""
        report = choice.report
        return Decision(
            operation_id="",
            attempt=0,
            chosen=choice.host,
            funnel=report.funnel,
            refused=report.refused,
            weights=report.weights,
            at=self._clock.now(),
        )

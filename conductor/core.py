"""What every workflow of a conductor shares: its ports, its name, and what it says after a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from conductor.alarm import AlarmKind, raise_alarm
from conductor.effect import Applied, Owner
from conductor.order import OrderBook
from conductor.past import Past
from conductor.points import Commit
from conductor.room import Room
from conductor.waiter import Waiter
from drover import errors, log
from drover.conf.conductor import ConductorSettings
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.db.restored import SUBJECT
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.sync import Order
from drover.rpc import agent, scheduler
from drover.rpc.bus import Bus
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.rpc.event import EventSink, NoEvents
from drover.runtime import Runtime
from drover.runtime.points import NoPoints, Points
from drover.states import VERBS, Action, OperationState, PoolKind

__all__ = ["Core"]

LOG = log.get(__name__)

#: orders of one message: about 2 KiB each, and a message stays under 512 KiB; an id has 40 bytes
ORDERS_A_MESSAGE = 100
IDS_A_MESSAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The ports and settings of one conductor."""

    name: str
    runtime: Runtime
    bus: Bus
    database: Database
    settings: ConductorSettings
    times: TimeSettings
    orders: OrderBook
    waiter: Waiter
    discard_image: Callable[[str], None]  # removes an image's bytes from the depot
    points: Points = field(default_factory=NoPoints)  # where tests stop it
    events: EventSink = field(default_factory=NoEvents)
    room: Room = field(default_factory=Room)
    past: Past = field(default_factory=Past)

    @contextmanager
    def transaction(self, commit: Commit) -> Iterator[Connection]:
        """One transaction of the database; see :meth:`write` for what it raises."""
        with self.write() as conn:
            yield conn
            self.points.hit(commit)
        self.points.hit(f"{commit}.done")

    def write(self) -> AbstractContextManager[Connection]:
        """:meth:`drover.db.engine.Database.write`, for what a restored database must not begin.

        :raises errors.OldDatabase: it is one, and nobody has settled it.
        """
        self.past.check()
        return self.database.write()

    def halt(self, exc: errors.OldDatabase) -> None:
        """Begin nothing more, and tell the other conductors and an operator; once, whoever comes with it."""
        if not self.past.detail:
            self.past.detail = str(exc.kwargs["detail"])
            with self.database.write() as conn:
                told = raise_alarm(conn, AlarmKind.OLD_DATABASE, SUBJECT, self.past.detail, self.runtime.clock.now())
            self.events.publish(told)

    def owner(self) -> Owner:
        """This conductor, now."""
        now = self.runtime.clock.now()
        return Owner(self.name, now, now + timedelta(seconds=self.times.owner_lease_s))

    def context(self) -> RequestContext:
        """For messages that no user asked for."""
        return RequestContext(request_id=f"req-{self.runtime.uuid()}")

    def budgets(self, action: Action) -> tuple[float, float]:
        """(queue, run) budgets of a verb in seconds, as configured."""
        t = self.times
        match VERBS[action].pool:
            case PoolKind.BUILD:
                return t.build_queue_budget_s, t.build_run_budget_s
            case PoolKind.DELETE:
                return t.delete_budget_s, t.delete_budget_s
            case PoolKind.SNAPSHOT:
                return t.snapshot_queue_budget_s, t.snapshot_run_budget_s
            case PoolKind.LIFECYCLE:
                return t.lifecycle_budget_s, t.lifecycle_budget_s

    def new_operation(
        self, ctx: RequestContext, target: Instance, action: Action, params: dict[str, str] | None = None
    ) -> Operation:
        """An operation on the host that has *target*, to be written now."""
        now = self.runtime.clock.now()
        queue_s, run_s = self.budgets(action)
        return Operation(
            id=self.runtime.uuid(),
            instance_uuid=target.uuid,
            instance_name=target.name,
            action=action,
            state=OperationState.DISPATCHED,
            attempt=1,
            params=params or {},
            host=target.host,
            queue_budget_s=queue_s,
            run_budget_s=run_s,
            owner=self.name,
            request_id=ctx.request_id,
            project_id=ctx.project_id,
            user_id=ctx.user_id,
            created_at=now,
            dispatched_at=now,
        )

    def after(self, applied: Applied) -> None:
        """After a commit: wake who waits, tell the scheduler what needs a host, remove bytes that no image has.

        Who is killed before this loses nothing but events: waiters look by themselves, the reaper nudges again, and
        the depot removes bytes without an image when it starts, and now and then.
        """
        self.events.publish(applied.events)
        self.waiter.finished(applied.finished)
        if applied.freed:
            self.room.came()
        self.nudge_scheduler(applied.requeued)
        for image_id in applied.dropped_images:
            try:
                self.discard_image(image_id)
            except OSError as exc:
                LOG.warning("image bytes not removed, the depot's next sweep will", image=image_id, error=exc)

    def nudge_scheduler(self, operation_ids: Sequence[str]) -> None:
        """A lost nudge is repeated by the reaper when the operation's lease runs out."""
        api = client(scheduler.CONTRACT, self.bus)
        for first in range(0, len(operation_ids), IDS_A_MESSAGE):
            try:
                api.schedule(self.context(), tuple(operation_ids[first : first + IDS_A_MESSAGE]))
            except errors.Unavailable as exc:
                LOG.warning("scheduler not nudged", operations=len(operation_ids), error=exc)
                return

    def hand_out(self, operations: Sequence[Operation]) -> None:
        """Write and send the orders of *operations*."""
        if operations:
            with self.transaction(Commit.DISPATCH) as conn:
                orders = self.orders.hand_out(conn, operations)
            self.send(operations, orders)

    def nudge_host(self, host: str) -> None:
        """Ask a host's agent to sync now; a lost nudge costs one sync round."""
        self._execute(host, ())

    def send(self, operations: Sequence[Operation], orders: Sequence[Order]) -> None:
        """Send the orders of *operations* to their hosts early; a lost message costs one sync round."""
        hosts = {op.id: op.host for op in operations}
        by_host: dict[str, list[Order]] = {}
        for order in orders:
            by_host.setdefault(hosts[order.operation_id], []).append(order)
        for host, mine in sorted(by_host.items()):
            self._execute(host, mine)

    def _execute(self, host: str, orders: Sequence[Order]) -> None:
        api = client(agent.CONTRACT, self.bus, server=host)
        for first in range(0, max(1, len(orders)), ORDERS_A_MESSAGE):
            try:
                api.execute(self.context(), tuple(orders[first : first + ORDERS_A_MESSAGE]))
            except errors.Unavailable as exc:
                LOG.warning("orders not sent early", host=host, orders=len(orders), error=exc)
                return

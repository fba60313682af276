"""What every workflow of a conductor shares: its ports, its name, and what it says after a commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from conductor.effect import Applied, Owner
from conductor.order import OrderBook
from conductor.waiter import Waiter
from drover import errors, log
from drover.conf.conductor import ConductorSettings
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.objects.operation import Operation
from drover.objects.sync import Order
from drover.rpc import agent, scheduler
from drover.rpc.bus import Bus
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import Runtime
from drover.states import Action

__all__ = ["Core"]

LOG = log.get(__name__)

#: orders of one message: about 2 KiB each, and a message stays under 512 KiB
ORDERS_A_MESSAGE = 100
IDS_A_MESSAGE = 500


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
        if action is Action.BUILD:
            return t.build_queue_budget_s, t.build_run_budget_s
        if action is Action.DELETE:
            return t.delete_budget_s, t.delete_budget_s
        return t.lifecycle_budget_s, t.lifecycle_budget_s

    def after(self, applied: Applied) -> None:
        """After a commit: wake who waits, hand back to the scheduler what lost its host."""
        self.waiter.finished(applied.finished)
        self.nudge_scheduler(applied.requeued)

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
            with self.database.write() as conn:
                orders = self.orders.hand_out(conn, operations)
            self.send(operations, orders)

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
        for first in range(0, len(orders), ORDERS_A_MESSAGE):
            try:
                api.execute(self.context(), tuple(orders[first : first + ORDERS_A_MESSAGE]))
            except errors.Unavailable as exc:
                LOG.warning("orders not sent early", host=host, orders=len(orders), error=exc)
                return

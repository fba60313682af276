"""The agent's work: takes orders in, runs them in bounded pools, and keeps what is to be told.

Everything that happens (casts, replies, driver events, ends of orders) changes the ledger or the observations
under one lock, and at most wakes the sync loop; no I/O is done under the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agent.claims import Claims
from agent.journal import Journal
from agent.lease import Lease
from agent.ledger import Changes, Ledger
from agent.observation import Observations
from agent.operations import STEPS
from agent.operations.runner import Runner
from agent.operations.step import Attempt
from agent.pace import Pace
from agent.virt.driver import Backend, PowerEvent, Stats
from agent.work import Work
from drover import log
from drover.conf.agent import AgentSettings
from drover.conf.times import TimeSettings
from drover.objects.guest import GuestState
from drover.objects.host import Inventory
from drover.objects.sync import Order, Result, SyncReply, SyncRequest
from drover.runtime import Event, Runtime
from drover.states import PoolKind, PowerState

__all__ = ["Manager", "Parts"]

LOG = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the tasks of one incarnation share."""

    runtime: Runtime
    backend: Backend
    journal: Journal
    runner: Runner
    claims: Claims
    times: TimeSettings
    pace: Pace
    lease: Lease
    look: Event  # set when a guest should be looked at


class Manager:
    """Thread-safe.

    :param inventory: as the conductor has it.
    :param fatal: called when this incarnation cannot go on (its journal cannot be written).
    """

    def __init__(
        self, parts: Parts, settings: AgentSettings, inventory: Inventory, fatal: Callable[[Exception], None]
    ) -> None:
        runtime = parts.runtime
        sizes = {
            PoolKind.BUILD: settings.build_pool,
            PoolKind.LIFECYCLE: settings.lifecycle_pool,
            PoolKind.DELETE: settings.delete_pool,
            PoolKind.SNAPSHOT: settings.snapshot_pool,
        }
        self._parts = parts
        self._fatal = fatal
        self._clock = runtime.clock
        self._pools = {kind: runtime.pool(f"agent-{kind}", size) for kind, size in sizes.items()}
        self._lock = runtime.lock()  # protects all that follows
        self._closed = False
        self._ledger = Ledger(runtime, sizes, parts.journal.results(), removal_budget_s=parts.times.delete_budget_s)
        self._observations = Observations(inventory)

    # orders and syncs

    def offer(self, orders: Sequence[Order]) -> None:
        """Orders that came by a cast."""
        with self._lock:
            changes = self._ledger.offer(orders)
        self._do(changes)

    def compose(self, request: SyncRequest) -> SyncRequest:
        """*request* (host, session, seq, seal) with everything there is to tell; its results are durable."""
        with self._lock:
            request = self._observations.fill(
                SyncRequest(
                    host=request.host,
                    session=request.session,
                    seq=request.seq,
                    held=self._ledger.held(),
                    begun=self._ledger.begun(),
                    results=self._ledger.results(),
                    gone=self._ledger.gone(),
                    want=self._ledger.want(),
                    seal=request.seal,
                )
            )
        if request.results:
            self._parts.journal.flush()
        return request

    def answered(self, request: SyncRequest, reply: SyncReply) -> None:
        """The conductor's answer to *request*."""
        with self._lock:
            changes = self._ledger.answered(request, reply)
            changes.news |= self._observations.delivered(request)
        self._do(changes)

    def close(self, timeout_s: float) -> bool:
        """Take no more work; what runs stops at its next boundary. False if something still ran after *timeout_s*."""
        with self._lock:
            self._closed = True
            self._ledger.close()
        deadline_s = self._clock.monotonic() + timeout_s
        ended = True
        for pool in self._pools.values():  # each of them is closed, also when the first takes all the time
            ended &= pool.close(max(0.0, deadline_s - self._clock.monotonic()))
        return ended

    # the hypervisor's side

    def event(self, event: PowerEvent) -> None:
        """From the driver's own thread. A guest with an order at work is looked at when that has ended."""
        with self._lock:
            look = self._observations.event(event) and event.instance_uuid not in self._ledger.busy()
        if look:
            self._parts.look.set()

    def look_begins(self) -> list[str]:
        """Guests whose events ask for a look."""
        with self._lock:
            return self._observations.look_begins(self._ledger.busy())

    def saw(self, looked_at: Sequence[str], guests: Sequence[GuestState]) -> None:
        with self._lock:
            news = self._observations.saw(looked_at, guests)
        self._tell(news)

    def saw_all(self, guests: Sequence[GuestState], stats: Stats, files: Sequence[tuple[str, int]]) -> None:
        with self._lock:
            news = self._observations.saw_all(guests, stats, files)
        self._tell(news)

    def look_failed(self) -> None:
        with self._lock:
            self._observations.look_failed()

    def inventory_is(self, inventory: Inventory) -> None:
        """What the host offers now."""
        self._parts.claims.capacity = inventory.capacity()
        with self._lock:
            news = self._observations.inventory_is(inventory)
        self._tell(news)

    # inside

    def _tell(self, news: bool) -> None:
        if news:
            self._parts.pace.urgent()

    def _do(self, changes: Changes) -> None:
        for key in changes.forget:
            self._parts.journal.forget(key)
        if changes.run:
            with self._lock:
                for work in changes.run if not self._closed else ():
                    self._pools[work.pool].submit(partial(self._run, work))
        self._tell(changes.news)

    def _run(self, work: Work) -> None:
        """In a pool's task: one order to its end."""
        try:
            self._finish(work, *self._attempt(work))
        except Exception as exc:
            LOG.exception("order lost its way", operation=work.order.operation_id, instance=work.order.instance_uuid)
            self._fatal(exc)

    def _attempt(self, work: Work) -> tuple[Result | None, Attempt]:
        parts = self._parts
        with self._lock:
            self._observations.order_began(work.order.instance_uuid)
            work.begun = True
        if not work.is_removal:
            parts.pace.soon()
        attempt = Attempt(
            order=work.order,
            token=work.token,
            leave=_Leave(work, parts),
            backend=parts.backend,
            claims=parts.claims,
            stop_timeout_s=parts.times.stop_timeout_s,
            resumed=parts.journal.was_begun(work.key),
        )
        began_s = self._clock.monotonic()
        result = parts.runner.run(attempt, STEPS[work.order.action])
        self._log(work, result, self._clock.monotonic() - began_s)
        return result, attempt

    def _log(self, work: Work, result: Result | None, seconds: float) -> None:
        """One line an order."""
        order = work.order
        LOG.info(
            "removal ended" if work.is_removal else "order ended",
            action=order.action,
            instance=order.instance_uuid,
            **({} if work.is_removal else {"operation": order.operation_id, "request_id": order.request_id}),
            outcome=result.outcome if result else work.token.reason,
            seconds=round(seconds, 3),
            **({"error": result.error.message} if result and result.error else {}),
        )

    def _finish(self, work: Work, result: Result | None, attempt: Attempt) -> None:
        uuid = work.order.instance_uuid
        if attempt.removed:
            self._parts.journal.forget_instance(uuid, work.order.epoch)
        with self._lock:
            changes = self._ledger.finished(work, result, removed=attempt.removed)
            if attempt.removed:
                self._observations.order_removed(uuid)
                look = False
            else:
                power_state = result.power_state if result else PowerState.UNKNOWN
                look = self._observations.order_ended(uuid, power_state)
        self._do(changes)
        if look:
            self._parts.look.set()


class _Leave:
    """Implements :class:`agent.operations.step.Leave` for one order."""

    def __init__(self, work: Work, parts: Parts) -> None:
        self._work = work
        self._parts = parts

    def permit(self) -> None:
        work = self._work
        work.permit_wanted = True
        self._parts.pace.urgent()
        while not work.permitted:
            work.answered.wait(work.token.remaining_s())
            work.token.check()

    def lease(self) -> None:
        self._parts.lease.wait(self._work.token)

    def alive(self) -> bool:
        return self._parts.lease.valid()

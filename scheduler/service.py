"""A scheduler: takes nudges, places in batches, tells the conductor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from drover import __version__, errors, log, retry
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db import notice, waiting
from drover.db.engine import Database
from drover.rpc import scheduler as contract
from drover.rpc.bus import Address, Bus, Server
from drover.rpc.contract import Endpoint
from drover.runtime import Runtime, Task
from drover.runtime.points import NoPoints, Points
from scheduler.announcer import Announcer
from scheduler.decide import Limits
from scheduler.fleet import Fleet
from scheduler.inbox import Inbox
from scheduler.placer import Batch, Placer
from scheduler.plugin import load_chain
from scheduler.query import Query
from scheduler.rpc.endpoint import SchedulerEndpoint

__all__ = ["CLAIM", "Scheduler"]

LOG = log.get(__name__)

T = TypeVar("T")

HEARTBEAT_EVERY_S = 10.0
#: the point before a batch is read and claimed, and with ``.done`` that after its commit
CLAIM = "claim"
#: operations looked for at the start; beyond them the conductor's reaper asks again
_SWEEP = 10_000
_STOP_S = 10.0


class Scheduler:
    """N of these share the database; each may be killed at any instant.

    :raises errors.InvalidConfig: a filter or weigher is not installed.
    """

    def __init__(
        self,
        runtime: Runtime,
        bus: Bus,
        database: Database,
        settings: SchedulerSettings,
        times: TimeSettings,
        name: str,
    ) -> None:
        self.name = name
        self.points: Points = NoPoints()  # where tests stop it
        self._runtime = runtime
        self._bus = bus
        self._database = database
        self._settings = settings
        self._join_window_s = times.join_window_s
        limits = Limits(
            alternates=settings.alternates,
            explained=settings.explained_hosts,
            explained_beside=min(settings.explained_hosts, Limits().explained_beside),
            subset=settings.host_subset_size,
            chance=runtime.random,
        )
        chain = load_chain(settings)
        fleet = Fleet(runtime.clock, times.host_table_reload_s, chain)
        self._placer = Placer(name, runtime.clock, database, fleet, chain, limits)
        self._inbox = Inbox(runtime)
        self._announcer = Announcer(runtime, bus)
        self._query = Query(runtime, database, chain, limits)
        self._stopping = runtime.event()
        self._server: Server | None = None
        self._tasks: list[Task] = []

    def start(self) -> None:
        """Serve. Waits for the broker; the database may come later."""
        self._announcer.start()
        self._tasks.append(self._runtime.spawn("place", self._place))
        self._tasks.append(self._runtime.spawn("heartbeat", self._beat))
        endpoint = Endpoint(contract.CONTRACT, SchedulerEndpoint(self.name, self._inbox, self._query))
        self._server = self._bus.serve(Address(contract.CONTRACT.topic, self.name), endpoint, self._settings.workers)
        LOG.info("scheduler serves", name=self.name, database=self._database.label)

    def stop(self) -> None:
        """Take no more nudges, place what came, tell of it."""
        if self._server is not None:
            self._server.stop()
        self._stopping.set()
        self._inbox.close()
        for task in self._tasks:
            task.join(_STOP_S)
        self._announcer.stop(_STOP_S)

    def _place(self) -> None:
        self._sweep()
        while self._inbox.wait():
            self._runtime.sleep(self._join_window_s)
            self._place_safely(self._inbox.take(self._settings.batch))

    def _sweep(self) -> None:
        """Nudges of before the start may have died with the process that had them."""
        try:
            self._inbox.put(self._until_available(self._all_scheduling))
        except errors.Unavailable:
            LOG.info("stopped before the database came")

    def _all_scheduling(self) -> list[str]:
        with self._database.read() as conn:
            return waiting.scheduling(conn, _SWEEP)

    def _place_safely(self, operation_ids: list[str], *, whole: bool = True) -> None:
        """A batch that fails is done again in halves, so that a poisoned operation harms only itself."""
        try:
            self._place_batch(Batch(operation_ids, whole=whole))
        except errors.Unavailable as exc:
            LOG.warning("stopped with operations not placed", operations=len(operation_ids), error=exc)
        except Exception:
            LOG.exception("placing failed", operation=operation_ids[0], operations=len(operation_ids))
            middle = len(operation_ids) // 2
            for half in (operation_ids[:middle], operation_ids[middle:]):
                if half and (whole or len(operation_ids) > 1):
                    self._place_safely(half, whole=False)

    def _place_batch(self, batch: Batch) -> None:
        began = self._runtime.clock.monotonic()
        try:
            while batch.left:
                self.points.hit(CLAIM)
                self._until_available(lambda: self._placer.advance(batch))
                self.points.hit(f"{CLAIM}.done")
        finally:
            self._announcer.tell(dispatched=batch.dispatched, unplaceable=batch.unplaceable)
        LOG.info(
            "batch placed",
            dispatched=len(batch.dispatched),
            unplaceable=len(batch.unplaceable),
            took_ms=round((self._runtime.clock.monotonic() - began) * 1000, 1),
        )

    def _until_available(self, work: Callable[[], T]) -> T:
        return retry.until_available(
            self._runtime, "database", lambda: retry.while_busy(self._runtime, work), stopped=self._stopping.is_set
        )

    def _beat(self) -> None:
        while True:
            try:
                with self._database.write() as conn:
                    notice.beat(conn, "scheduler", self.name, __version__, self._runtime.clock.now())
            except errors.Unavailable as exc:
                LOG.warning("no heartbeat", error=exc)
            if self._stopping.wait(HEARTBEAT_EVERY_S):
                return

"""A conductor: its servers, its depot and its periodic round, composed from ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from conductor.core import Core
from conductor.dead_letter import DeadLetters
from conductor.depot import Depot
from conductor.depot_store import DepotStore
from conductor.order import OrderBook
from conductor.past import Past
from conductor.reaper import Reaper
from conductor.rpc.endpoint import ConductorEndpoint, WaitEndpoint
from conductor.waiter import Waiter
from conductor.workflows.catalog import CatalogWorkflow
from conductor.workflows.image import ImageWorkflow, image_source, upload_target
from conductor.workflows.purge import PurgeWorkflow
from conductor.workflows.sync import SyncWorkflow
from drover import __version__, errors, log, retry
from drover.conf.conductor import ConductorSettings
from drover.conf.depot import DepotSettings
from drover.conf.times import TimeSettings
from drover.db import deployment, notice
from drover.db.engine import Database
from drover.objects.deployment import Deployment
from drover.objects.guest import UploadTarget
from drover.rpc import conductor as contract
from drover.rpc.bus import Address, Bus, Message, Server
from drover.rpc.contract import Endpoint
from drover.rpc.event import EventSink, NoEvents
from drover.runtime import Runtime, Task
from drover.runtime.points import NoPoints, Points

__all__ = ["Conductor", "ConductorOptions"]

LOG = log.get(__name__)

HEARTBEAT_EVERY_S = 10.0
#: at most; four echoes within the time after which a host counts as silent tell a broken broker from silent hosts
ECHO_EVERY_S = 5.0
ECHOES_A_SILENCE = 4
ECHO_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductorOptions:
    """Settings of one conductor. Without ``serve_depot`` there is no HTTP server, and images need a URL."""

    conductor: ConductorSettings = field(default_factory=ConductorSettings)
    times: TimeSettings = field(default_factory=TimeSettings)
    depot: DepotSettings = field(default_factory=DepotSettings)
    serve_depot: bool = True


class Conductor:
    """N of these share the database; each may be killed at any instant.

    :param points: where tests stop it.
    """

    def __init__(
        self,
        runtime: Runtime,
        bus: Bus,
        database: Database,
        options: ConductorOptions,
        name: str,
        points: Points | None = None,
    ) -> None:
        self.name = name
        self._runtime = runtime
        self._bus = bus
        self._database = database
        self._options = options
        self._points = points or NoPoints()
        self.events: EventSink = NoEvents()  # set before the start
        self._stop = runtime.event()
        self._past = Past()
        self._servers: list[Server] = []
        self._depot: Depot | None = None
        self._round: Task | None = None
        self._echoed_at = -ECHO_EVERY_S
        silence_s = options.times.sync_interval_s * options.times.silent_factor
        self._echo_every_s = min(ECHO_EVERY_S, silence_s / ECHOES_A_SILENCE)
        self._beat_at = -HEARTBEAT_EVERY_S

    def start(self) -> None:
        """Wait for the database, then serve. The schema must be there (``drover db upgrade``)."""
        found = retry.until_available(self._runtime, "database", self._deployment, stopped=self._stop.is_set)
        core = self._core(found)
        catalog = CatalogWorkflow(self._database, self._runtime)
        images = ImageWorkflow(self._database, self._runtime, self._options.depot, found.depot_key)
        sync = SyncWorkflow(core, DeadLetters(self._runtime, self._database, self._options.conductor.dead_letter_dir))
        store = DepotStore(Path(self._options.depot.directory)) if self._options.serve_depot else None
        endpoint = Endpoint(contract.CONTRACT, ConductorEndpoint(core, sync, catalog, images, store))
        waiting = Endpoint(contract.WAIT_CONTRACT, WaitEndpoint(core))
        if self._options.serve_depot:
            self._depot = Depot(self._runtime, self._database, self._options.depot, found.depot_key)
            self._depot.start()
        settings = self._options.conductor
        self._servers.append(self._bus.serve(Address(contract.CONTRACT.topic, self.name), endpoint, settings.workers))
        self._servers.append(
            self._bus.serve(Address(contract.WAIT_CONTRACT.topic, self.name), waiting, settings.wait_workers)
        )
        self._round = self._runtime.spawn("reaper", lambda: self._rounds(core, sync))
        LOG.info("conductor serves", name=self.name, deployment=found.id, database=self._database.label)

    def stop(self) -> None:
        """Drain: take no more, finish what runs."""
        self._stop.set()
        for server in self._servers:
            server.stop()
        if self._depot is not None:
            self._depot.stop()
        if self._round is not None:
            self._round.join(10.0)

    def _deployment(self) -> Deployment:
        found = deployment.ensure_deployment(self._database, self._runtime)
        with self._database.read() as conn:
            self._past.look(conn)
        return found

    def _core(self, found: Deployment) -> Core:
        options, clock = self._options, self._runtime.clock
        depot, key = options.depot, found.depot_key

        def leave_to_upload(image_id: str, for_s: float) -> UploadTarget:
            expires = clock.now() + timedelta(seconds=for_s + depot.write_token_s)
            return upload_target(image_id, depot, key, expires)

        return Core(
            name=self.name,
            runtime=self._runtime,
            bus=self._bus,
            database=self._database,
            settings=options.conductor,
            times=options.times,
            orders=OrderBook(
                found.id,
                lambda image: image_source(image, depot, key, clock.now()),
                leave_to_upload,
            ),
            waiter=Waiter(self._runtime, self._database),
            discard_image=DepotStore(Path(depot.directory)).remove,
            points=self._points,
            events=self.events,
            past=self._past,
        )

    # --- periodic ------------------------------------------------------------------------------------------

    def _rounds(self, core: Core, sync: SyncWorkflow) -> None:
        reaper, purge = Reaper(core), PurgeWorkflow(core)
        while not self._stop.wait(core.times.reap_interval_s):
            try:
                self._beat()
                sync.fleet_size(reaper.round(echo=self._echo()))
                purge.tick()
            except errors.Unavailable as exc:
                LOG.warning("round not done", error=exc)
            except Exception:  # the next round tries again; a dead reaper would leave things stuck
                LOG.exception("round failed")

    def _echo(self) -> bool:
        """Whether a message of ours comes back through the broker; asked every few seconds."""
        now = self._runtime.clock.monotonic()
        if now - self._echoed_at < self._echo_every_s:
            return True
        try:
            address = Address(contract.CONTRACT.topic, self.name)
            context = {"request_id": "echo"}
            self._bus.call(address, Message(method="ping", context=context), timeout_s=ECHO_TIMEOUT_S)
        except errors.Unavailable as exc:
            LOG.warning("no echo through the broker, silence of hosts is not judged", error=exc)
            return False
        self._echoed_at = now
        return True

    def _beat(self) -> None:
        now = self._runtime.clock.monotonic()
        if now - self._beat_at >= HEARTBEAT_EVERY_S:
            with self._database.write() as conn:
                notice.beat(conn, "conductor", self.name, __version__, self._runtime.clock.now())
            self._beat_at = now

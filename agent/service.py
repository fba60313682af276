"""An agent, composed of ports: the same under threads, in standalone, and in the simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.claims import Claims
from agent.identity import Machine, host_identity, next_incarnation
from agent.inventory import offered
from agent.journal import Journal
from agent.lease import Lease
from agent.manager import Manager, Parts
from agent.operations.left import discard_left
from agent.operations.runner import Runner
from agent.pace import Pace
from agent.periodic import Observer
from agent.rpc.endpoint import AgentEndpoint
from agent.state_dir import StateDir
from agent.sync import SyncLoop
from agent.virt.driver import Backend
from drover import __version__, errors, log, retry
from drover.conf.agent import AgentSettings
from drover.conf.times import TimeSettings
from drover.objects.host import HostIdentity, Inventory, RegisterReply, Registration
from drover.rpc.agent import CONTRACT
from drover.rpc.bus import Address, Bus, Server
from drover.rpc.conductor import CONTRACT as CONDUCTOR
from drover.rpc.conductor import ConductorAPI
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint, client
from drover.runtime import Runtime, Task
from drover.runtime.points import NoPoints, Points

__all__ = ["Agent", "Ports"]

LOG = log.get(__name__)

#: enough for casts and a console log at once
_RPC_WORKERS = 2
#: what runs at a stop has so long to come to its next boundary; the journal lets the next incarnation go on
_DRAIN_S = 4.0
_HYPERVISOR_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world of one agent."""

    bus: Bus
    backend: Backend
    state_dir: StateDir
    machine: Machine


@dataclass(frozen=True, slots=True)
class _Running:
    """What :meth:`Agent.start` made and :meth:`Agent.stop` ends."""

    parts: Parts
    manager: Manager
    observer: Observer
    server: Server
    tasks: tuple[Task, ...]
    session: int


class Agent:
    """A :class:`drover.runtime.process.Service`.

    :param fatal: called from a task of the agent when the process cannot go on: ``StaleSession``, a journal that
        cannot be written.
    :param points: where tests stop it.
    """

    def __init__(
        self,
        runtime: Runtime,
        ports: Ports,
        settings: AgentSettings,
        times: TimeSettings,
        *,
        fatal: Callable[[Exception], None],
        points: Points | None = None,
    ) -> None:
        self._runtime = runtime
        self._ports = ports
        self._settings = settings
        self._times = times
        self._fatal = fatal
        self._points = points or NoPoints()
        self._stopped = runtime.event()
        self._starting = runtime.lock()  # held while start() makes what stop() must end
        self._locked = False
        self._running: _Running | None = None
        self._journal = Journal(runtime, ports.state_dir)

    @property
    def host(self) -> str:
        """The host's name in the fleet."""
        return self._settings.host or self._ports.machine.host_name()

    def start(self) -> None:
        """Register and begin to work. Waits for the hypervisor, the bus and a conductor as long as it takes.

        :raises errors.StateDirLocked: another agent works with this state directory.
        :raises errors.HostNameTaken: another machine is registered under this name.
        """
        with self._starting:
            if self._stopped.is_set():
                return
            self._ports.state_dir.lock()
            self._locked = True
            self._journal.open()
            identity = host_identity(self._runtime, self._ports.machine, self._ports.state_dir, self.host)
            inventory = self._read_inventory()
            conductor = client(CONDUCTOR, self._ports.bus, timeout_s=self._times.rpc_timeout_s)
            sent_at_s, session = self._register(conductor, identity, inventory)
            self._running = self._begin(conductor, inventory, sent_at_s, session)

    def stop(self) -> None:
        """Take no more work, leave what runs at its next boundary, let everything go. About 5 s at most."""
        self._stopped.set()
        if not self._starting.acquire(_DRAIN_S):
            return  # start() still waits for the broker: nothing has begun, and the process ends
        running, self._running = self._running, None
        if running is not None:
            self._end(running)
        self._journal.close()
        self._ports.backend.driver.close()
        if self._locked:
            self._ports.state_dir.unlock()
            self._locked = False
        self._starting.release()

    # --- how it does --------------------------------------------------------------------------------------------

    def check_hypervisor(self) -> None:
        """:raises errors.DroverError: it does not answer, as the periodic look found; a hung one is asked no more often."""
        self._now_running().observer.check()

    def check_sync(self) -> None:
        """:raises errors.Unavailable: no conductor has answered for longer than the lease: nothing starts here."""
        lease = self._now_running().parts.lease
        if not lease.valid():
            raise errors.Unavailable(what="conductor", detail=f"the last answered sync is {lease.age_s():.1f} s old")

    def facts(self) -> dict[str, float]:
        """Session and age of the last answered sync, once there are any."""
        running = self._running
        if running is None:
            return {}
        return {"session": running.session, "last_sync_age_s": round(running.parts.lease.age_s(), 1)}

    def _now_running(self) -> _Running:
        if self._running is None:
            raise errors.Unavailable(what="agent", detail="it waits for its hypervisor, the bus or a conductor")
        return self._running

    # --- start and stop -----------------------------------------------------------------------------------------

    def _read_inventory(self) -> Inventory:
        while True:
            try:
                return offered(self._ports.backend.driver.inventory(), self._settings)
            except errors.DriverError as exc:
                LOG.warning("waiting", what="hypervisor", error=exc)
                if self._stopped.wait(_HYPERVISOR_RETRY_S):
                    raise

    def _register(
        self, conductor: ConductorAPI, identity: HostIdentity, inventory: Inventory
    ) -> tuple[float, RegisterReply]:
        registration = Registration(
            identity=identity,
            inventory=inventory,
            address=self._settings.address or identity.host,
            version=__version__,
            incarnation=next_incarnation(self._runtime, self._ports.state_dir),
        )
        ctx = RequestContext(request_id=f"register-{self._runtime.uuid()}", user_id="agent")

        def register() -> tuple[float, RegisterReply]:
            sent_at_s = self._runtime.clock.monotonic()
            return sent_at_s, conductor.register(ctx, registration)

        return retry.until_available(self._runtime, "conductor", register, stopped=self._stopped.is_set)

    def _begin(
        self, conductor: ConductorAPI, inventory: Inventory, sent_at_s: float, session: RegisterReply
    ) -> _Running:
        runtime, backend = self._runtime, self._ports.backend
        parts = Parts(
            runtime=runtime,
            backend=backend,
            journal=self._journal,
            runner=Runner(runtime, self._journal, self._points),
            claims=Claims(runtime, self.host, inventory.capacity()),
            times=self._times,
            pace=Pace(runtime, self._times),
            lease=Lease(runtime),
            look=runtime.event(),
        )
        parts.lease.renew(sent_at_s, session.lease_s)
        backend.driver.set_deployment(session.deployment_id)
        discard_left(backend.driver, self._journal)
        manager = Manager(parts, self._settings, inventory, self._fatal)
        backend.driver.subscribe(manager.event)
        observer = Observer(parts, manager, self._settings)
        loop = SyncLoop(parts, manager, conductor, self.host, session, self._fatal)
        endpoint = AgentEndpoint(manager, backend.driver, self.host, session.deployment_id)
        server = self._ports.bus.serve(
            Address(CONTRACT.topic, self.host), Endpoint(CONTRACT, endpoint), workers=_RPC_WORKERS
        )
        tasks = (runtime.spawn("agent-sync", loop.run), runtime.spawn("agent-observer", observer.run))
        LOG.info("agent works", host=self.host, session=session.session)
        return _Running(parts, manager, observer, server, tasks, session.session)

    def _end(self, running: _Running) -> None:
        running.parts.pace.close()
        running.observer.close()
        # A server's stop waits for its listener, which looks up every few seconds; orders need not wait for that.
        stopping = self._runtime.spawn("agent-rpc-stop", running.server.stop)
        if not running.manager.close(_DRAIN_S):
            LOG.warning("orders were left in the middle of a step", host=self.host)
        for task in (*running.tasks, stopping):
            task.join(1.0)

"""A host whose agent can be killed anywhere, and a fleet around it."""

from __future__ import annotations

import threading
from typing import cast

from agent.identity import FixedMachine
from agent.lease import Lease
from agent.service import Agent, Ports
from agent.state_dir import MemoryStateDir
from agent.virt.driver import Backend
from agent.virt.fake import FakeDriver, backend
from agent.virt.fake_store import GuestRecord, MemoryGuestStore
from drover.conf.agent import AgentSettings
from drover.conf.fake import FakeSettings
from drover.conf.times import TimeSettings
from drover.objects.sync import Order, Outcome, Result
from drover.rpc.agent import CONTRACT as AGENT
from drover.rpc.agent import AgentAPI
from drover.rpc.bus import Address
from drover.rpc.conductor import CONTRACT as CONDUCTOR
from drover.rpc.conductor import ConductorAPI
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint, client
from drover.rpc.embedded import EmbeddedBus
from drover.runtime.threads import ThreadRuntime
from tests.functional.agent.conductor import Conductor, Network
from tests.functional.agent.life import PATIENCE_S, Life, MortalStateDir, MortalStore

__all__ = ["CTX", "PATIENCE_S", "Conductor", "Host", "Network", "World", "succeeded"]

CTX = RequestContext(request_id="test")
TIMES = TimeSettings(
    sync_interval_s=0.2, sync_spacing_s=0.01, join_window_s=0.001, rpc_timeout_s=0.5, usage_interval_s=0.2
)


class Host:
    """A hypervisor host: its guests and state directory outlive its agents."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.store = MemoryGuestStore()
        self.state_dir = MemoryStateDir()
        self.settings = AgentSettings(host=name, reserved_memory_mib=0)
        self.fake = FakeSettings()
        self.times = TIMES
        self.life = Life()
        self.fatal: list[Exception] = []
        self.ended = threading.Event()
        self.down = False  # the hypervisor, when the next agent starts
        self._world = world
        self._agents: list[tuple[Agent, EmbeddedBus]] = []

    @property
    def lease(self) -> Lease:
        """The lease of the agent that runs."""
        running = self._agents[-1][0]._running
        assert running is not None
        return running.parts.lease

    @property
    def driver(self) -> FakeDriver:
        driver = self.backend.driver
        assert isinstance(driver, FakeDriver)
        return driver

    def boot(self, dies_at: str = "") -> Agent:
        """Start an agent; it dies when it comes to the point *dies_at*."""
        self.life = life = Life(dies_at)
        self.backend: Backend = backend(self._world.runtime, self.fake, MortalStore(self.store, life))
        self.driver.down = self.down
        bus = self._world.bus.attach(f"agent-{self.name}", self._world.runtime)
        ports = Ports(
            bus=bus,
            backend=self.backend,
            state_dir=MortalStateDir(self.state_dir, life),
            machine=FixedMachine(self.name),
        )
        agent = Agent(self._world.runtime, ports, self.settings, self.times, fatal=self._fatal, points=life)
        self._agents.append((agent, bus))
        agent.start()
        return agent

    @property
    def agent(self) -> Agent:
        return self._agents[-1][0]

    def await_death(self) -> None:
        """Wait for the point to be hit, then take away what a process loses with its life."""
        assert self.life.over.wait(PATIENCE_S), f"never came to {self.life.dies_at}; passed {self.life.passed}"
        self.bury()

    def bury(self) -> None:
        self.life.over.set()
        agent, bus = self._agents[-1]
        bus.sever()
        if agent._running is not None:  # end the tasks, which a real death would end
            agent._running.parts.pace.close()
            agent._running.observer.close()
            agent._running = None
        self.state_dir.kill()

    def close(self) -> None:
        for agent, _ in self._agents:
            if agent._running is not None:
                agent.stop()

    def guest(self, uuid: str) -> GuestRecord | None:
        return self.store.get(uuid)

    def cast(self, *orders: Order) -> None:
        """As the conductor casts orders early."""
        client(AGENT, self._world.bus, server=self.name).execute(CTX, orders)

    @property
    def api(self) -> AgentAPI:
        return client(AGENT, self._world.bus, server=self.name)

    def _fatal(self, exc: Exception) -> None:
        self.fatal.append(exc)
        self.ended.set()


class World:
    """One conductor, hosts, and the network between them."""

    def __init__(self, *, serve: bool = True) -> None:
        self.runtime = ThreadRuntime(seed=7)
        self.network = Network()
        self.bus = EmbeddedBus(self.runtime, self.network)
        self.conductor = Conductor()
        self._hosts: list[Host] = []
        if serve:
            self.serve()

    def serve(self) -> None:
        endpoint = Endpoint(CONDUCTOR, cast("ConductorAPI", self.conductor))
        self.bus.serve(Address(CONDUCTOR.topic), endpoint, workers=4)

    def host(self, name: str = "h1") -> Host:
        host = Host(self, name)
        self._hosts.append(host)
        return host

    def close(self) -> None:
        for host in self._hosts:
            host.close()
        self.bus.close()


def succeeded(result: Result) -> bool:
    """For assertions that show the error."""
    assert result.outcome is Outcome.SUCCEEDED, result.error
    return True

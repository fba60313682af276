"""A whole fleet in one interpreter: what belongs to hosts outlives processes, and processes can die at any switch.

Guests, disks, state directories and the database belong to the simulated machines.  Conductors, schedulers and
agents are incarnations: killed, they are never resumed, and a new one starts from what is left.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.identity import FixedMachine
from agent.service import Agent, Ports
from agent.state_dir import MemoryStateDir
from agent.virt.fake import backend
from agent.virt.fake_store import MemoryGuestStore
from conductor.service import Conductor, ConductorOptions
from drover import errors
from drover.conf.agent import AgentSettings
from drover.conf.conductor import ConductorSettings
from drover.conf.database import DatabaseSettings
from drover.conf.fake import FakeSettings
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.db.schema import metadata
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.fault import DELIVER, DROP, DUPLICATE, Fault, Parcel, ParcelKind
from scheduler.service import Scheduler
from tests.simulation.kernel import Incarnation, Kernel, SimRuntime

__all__ = ["SimHost", "Weather", "World"]


@dataclass(slots=True)
class Weather:
    """What the network does to messages. Probabilities are per message."""

    kernel: Kernel
    loss: float = 0.0
    duplicates: float = 0.0
    delays: float = 0.0
    longest_delay_s: float = 3.0
    cut: set[str] = field(default_factory=set)  # names of processes that no message reaches or leaves
    broker_down: bool = False

    def judge(self, parcel: Parcel) -> Fault:
        """Each message is a switch point: whoever sends may die before or after."""
        self.kernel.pause()
        receiver = parcel.receiver.removeprefix("agent.")
        if parcel.sender in self.cut or receiver in self.cut:
            return DROP
        if self.broker_down:
            raise errors.BusUnavailable(detail="the simulated broker is down")
        luck = self.kernel.random.random()
        if luck < self.loss:
            return DROP
        if luck < self.loss + self.duplicates and parcel.kind is not ParcelKind.REPLY:
            return DUPLICATE
        if luck < self.loss + self.duplicates + self.delays:
            return Fault(delay_s=self.kernel.random.random() * self.longest_delay_s)
        return DELIVER


@dataclass(slots=True)
class SimHost:
    """A machine: survives its agent."""

    name: str
    state_dir: MemoryStateDir
    guests: MemoryGuestStore
    machine: FixedMachine
    boots: int = 0


@dataclass(slots=True)
class _Process:
    incarnation: Incarnation
    bus: EmbeddedBus
    service: Agent | Conductor | Scheduler


class World:
    """One fleet under one seed."""

    def __init__(self, seed: int, hosts: int = 3, *, check: Callable[[World], None] = lambda world: None) -> None:
        # tenacity draws its jitter from the module's generator
        random.seed(seed)
        self.kernel = Kernel(seed, lambda: check(self))
        self.outside = SimRuntime(self.kernel, Incarnation("outside"))
        self.weather = Weather(self.kernel)
        self.database = Database("sqlite://", DatabaseSettings(), self.outside)
        with self.database.write() as conn:
            metadata.create_all(conn)
        self.bus = EmbeddedBus(self.outside, self.weather, name="outside")
        self.times = TimeSettings()
        names = [f"h{n + 1}" for n in range(hosts)]
        self.hosts = {
            name: SimHost(name, MemoryStateDir(), MemoryGuestStore(), FixedMachine(name, f"machine-{name}"))
            for name in names
        }
        self.processes: dict[str, _Process] = {}
        self.ended: list[tuple[str, Exception]] = []  # processes that ended themselves, and why

    # --- processes -------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        for name in ("conductor", "scheduler", *self.hosts):
            self.start(name)

    def start(self, name: str) -> None:
        """Start a process that is not running."""
        if name in self.processes:
            return
        incarnation = Incarnation(name)
        runtime = SimRuntime(self.kernel, incarnation)
        bus = self.bus.attach(name, runtime)
        service: Agent | Conductor | Scheduler
        if name.startswith("conductor"):
            options = ConductorOptions(conductor=ConductorSettings(), times=self.times, serve_depot=False)
            service = Conductor(runtime, bus, self.database, options, name)
        elif name.startswith("scheduler"):
            service = Scheduler(runtime, bus, self.database, SchedulerSettings(), self.times, name)
        else:
            service = self._agent(name, runtime, bus)
        self.processes[name] = _Process(incarnation, bus, service)
        runtime.spawn(f"{name}-start", service.start)

    def _agent(self, name: str, runtime: SimRuntime, bus: EmbeddedBus) -> Agent:
        host = self.hosts[name]
        fake = FakeSettings(vcpus=4, memory_mib=4096, disk_gib=50, latency_min_s=0.0, latency_max_s=0.4)
        ports = Ports(
            bus=bus,
            backend=backend(runtime, fake, host.guests),
            state_dir=host.state_dir,
            machine=host.machine,
        )
        settings = AgentSettings(host=name, driver="fake", vcpus_ratio=2.0, reserved_memory_mib=0)
        return Agent(runtime, ports, settings, self.times, fatal=self._fatal(name))

    def _fatal(self, name: str) -> Callable[[Exception], None]:
        """A process that ends itself is as dead as a killed one; the storm starts it again."""

        def ended(exc: Exception) -> None:
            self.ended.append((name, exc))
            self.kill(name)

        return ended

    def kill(self, name: str) -> None:
        """``kill -9``."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.incarnation.alive = False
        process.bus.sever()
        if name in self.hosts:
            self.hosts[name].state_dir.kill()

    def close(self) -> None:
        for process in self.processes.values():
            process.incarnation.alive = False
        self.kernel.close()
        self.database.close()

"""A whole fleet in one interpreter: what belongs to machines outlives processes, and processes can die at any switch.

Guests, disks, state directories and the database belong to the simulated machines.  Conductors, schedulers and
agents are incarnations: killed, they are never resumed, and a new one starts from what is left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from agent.service import Agent, Ports
from agent.virt.driver import Backend, CancelToken
from agent.virt.fake import FakeDriver, FakeImages
from agent.virt.fake_store import GuestRecord
from conductor.service import Conductor, ConductorOptions
from drover import errors
from drover.conf.agent import AgentSettings
from drover.conf.conductor import ConductorSettings
from drover.conf.fake import FakeSettings
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.objects.guest import UploadTarget
from drover.rpc.embedded import EmbeddedBus
from drover.states import PowerState
from scheduler.service import Scheduler
from tests.simulation.kernel import Clockwork, Incarnation, Kernel
from tests.simulation.machine import FOREIGN, Machine
from tests.simulation.plan import Plan
from tests.simulation.runtime import SimRuntime
from tests.simulation.seats import DEDICATED
from tests.simulation.store import Link, Store
from tests.simulation.watch import Watch
from tests.simulation.weather import Weather

__all__ = ["World"]

#: budgets are shorter than in production, so that a trial sees them run out; idle rounds are rarer, which is cheaper
TIMES = TimeSettings(
    reap_interval_s=4.0,
    usage_interval_s=30.0,
    build_queue_budget_s=90.0,
    build_run_budget_s=120.0,
    lifecycle_budget_s=60.0,
    delete_budget_s=90.0,
    stop_timeout_s=10.0,
)
#: as systemd's RestartSec
_RESTART_S = 2.0
#: a process that is asked to end is killed after this, as systemd does
_PATIENCE_S = 20.0

Service = Agent | Conductor | Scheduler


@dataclass(slots=True)
class _Process:
    incarnation: Incarnation
    bus: EmbeddedBus
    service: Service
    driver: FakeDriver | None


class World:
    """One fleet on its way through one plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        # tenacity draws its jitter from the module's generator
        random.seed(plan.seed)
        self.plan = plan
        self.store = store
        self.kernel = Kernel(plan.seed, self._check)
        self.outside = SimRuntime(self.kernel, Incarnation("outside"))
        self.times = replace(TIMES, sync_interval_s=plan.sync_interval_s, reclaim_instance_interval_s=plan.reclaim_s)
        self.weather = Weather(self.kernel, plan, self.fall)
        self.watch = Watch(store, self.kernel)
        self.bus = EmbeddedBus(self.outside, self.weather, name="outside")
        names = [f"h{n}" for n in _upto(plan.hosts)]
        self.machines = {name: Machine(name=name, host=name, identity=f"id-{name}", body=name) for name in names}
        self.masters = [f"c{n}" for n in _upto(plan.conductors)] + [f"s{n}" for n in _upto(plan.schedulers)]
        self.ended: list[tuple[str, Exception]] = []  # processes that ended themselves, and why
        self._clocks = {name: Clockwork() for name in self.masters}
        self._processes: dict[str, _Process] = {}
        self._barred: Counter[str] = Counter()  # processes that must not run now
        self._lives: Counter[str] = Counter()
        store.clear()
        for machine in self.machines.values():
            machine.guests.put(_foreign(machine.name))
            self.watch.add(machine)

    def _check(self) -> None:
        if self.watch.violations:
            self.watch.check()

    # --- processes -------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Every process there should be."""
        return (*self.masters, *self.machines)

    def start_all(self) -> None:
        for name in self.names():
            self.start(name)

    def start(self, name: str) -> None:
        """Start a process that does not run, unless something keeps it from running."""
        if name in self._processes or self._barred[name] or name not in self.names():
            return
        self.kernel.note(f"{name} starts")
        self._lives[name] += 1
        incarnation = Incarnation(name, self.clocks(name))
        runtime = SimRuntime(self.kernel, incarnation, str(self._lives[name]))
        bus = self.bus.attach(name, runtime)
        process = self._process(name, runtime, bus)
        self._processes[name] = process
        runtime.spawn("start", lambda: self._begin(name, process))

    def _begin(self, name: str, process: _Process) -> None:
        try:
            process.service.start()
        except errors.DroverError as exc:
            self._ended(name, process, exc)

    def _ended(self, name: str, process: _Process, exc: Exception) -> None:
        """A process that ends itself is as dead as a killed one, and is started again."""
        if self._processes.get(name) is process:
            self.ended.append((name, exc))
            self.kernel.note(f"{name} ends: {type(exc).__name__}")
            self.fall(name, _RESTART_S)

    def kill(self, name: str) -> None:
        """``kill -9``."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        self.kernel.note(f"{name} is dead")
        process.incarnation.alive = False
        process.bus.sever()
        if name in self.machines:
            self.machines[name].state_dir.kill()

    def fall(self, name: str, down_s: float) -> None:
        """Kill, and start again later."""
        self.bar(name)

        def rise() -> None:
            self.outside.sleep(down_s)
            self.unbar(name)

        self.spawn(rise)

    def bar(self, name: str) -> None:
        """Kill, and keep it from running until :meth:`unbar` was called as often."""
        self.kill(name)
        self._barred[name] += 1

    def unbar(self, name: str) -> None:
        self._barred[name] -= 1
        self.start(name)

    def stop(self, name: str) -> None:
        """SIGTERM: it drains, and is killed if that takes too long."""
        process = self._processes.get(name)
        if process is None:
            return
        self.kernel.note(f"{name} is asked to end")
        runtime = SimRuntime(self.kernel, process.incarnation, "stop")
        runtime.spawn("stop", process.service.stop).join(_PATIENCE_S)
        if self._processes.get(name) is process:
            self.kill(name)

    def incarnation(self, name: str) -> Incarnation | None:
        """The process as it runs now."""
        process = self._processes.get(name)
        return process.incarnation if process else None

    def clocks(self, name: str) -> Clockwork:
        """Of the machine that *name* runs on."""
        machine = self.machines.get(name)
        return machine.clocks if machine else self._clocks[name]

    def spawn(self, work: Callable[[], None]) -> None:
        """Do something to the world, from outside."""
        self.outside.spawn("fate", work)

    # --- hypervisors -----------------------------------------------------------------------------------------

    def hypervisor(self, name: str, *, down: bool) -> None:
        """Whether it answers, now and to later agents."""
        self.machines[name].hypervisor_down = down
        process = self._processes.get(name)
        if process is not None and process.driver is not None:
            process.driver.down = down

    def guests(self) -> Iterator[tuple[Machine, GuestRecord]]:
        """All there are, but for those of somebody else."""
        for machine in self.machines.values():
            yield from ((machine, guest) for guest in machine.guests.list() if not guest.uuid.startswith(FOREIGN))

    def add(self, machine: Machine) -> None:
        """One more machine, with its agent."""
        if all(machine.guests is not other.guests for other in self.machines.values()):
            self.watch.add(machine)
        self.machines[machine.name] = machine
        self.start(machine.name)

    def remove(self, name: str) -> None:
        """The machine is gone, with its agent and its guests."""
        self.kill(name)
        self.watch.forget(self.machines.pop(name))

    # --- composition -----------------------------------------------------------------------------------------

    def _process(self, name: str, runtime: SimRuntime, bus: EmbeddedBus) -> _Process:
        link = Link(self.store, self.kernel, self.weather, name, self.watch.committed)
        if name in self.machines:
            return self._agent(name, runtime, bus)
        service: Service
        if name.startswith("c"):
            options = ConductorOptions(conductor=ConductorSettings(), times=self.times, serve_depot=False)
            service = Conductor(runtime, bus, link, options, name)
        else:
            service = Scheduler(runtime, bus, link, SchedulerSettings(), self.times, name)
        return _Process(runtime.owner, bus, service, None)

    def _agent(self, name: str, runtime: SimRuntime, bus: EmbeddedBus) -> _Process:
        machine = self.machines[name]
        fake = FakeSettings(
            vcpus=6, memory_mib=4096, disk_gib=50, latency_min_s=0.0, latency_max_s=0.4, image_latency_s=0.3
        )
        driver = FakeDriver(runtime, fake, machine.guests)
        driver.down = machine.hypervisor_down
        images = FakeImages(runtime, fake, partial(self._upload, machine, runtime))
        ports = Ports(
            bus=bus, backend=Backend(driver=driver, images=images), state_dir=machine.state_dir, machine=machine
        )
        settings = AgentSettings(
            host=machine.host,
            driver="fake",
            vcpus_ratio=2.0,
            reserved_memory_mib=0,
            cpu_dedicated_set=",".join(map(str, sorted(DEDICATED))),
        )
        process = _Process(runtime.owner, bus, None, driver)  # type: ignore[arg-type]
        process.service = Agent(runtime, ports, settings, self.times, fatal=partial(self._ended, name, process))
        return process

    def _upload(
        self, machine: Machine, runtime: SimRuntime, path: str, target: UploadTarget, cancel: CancelToken
    ) -> None:
        """To the depot, which is no part of the simulation: bytes arrive whole, or the depot is away."""
        del path
        cancel.wait(runtime.random.uniform(0.1, 2.0))
        cancel.check()
        if self.weather.cut[machine.name] or self.weather.database_down[""]:
            raise errors.ImageUploadFailed(image=target.image_id, detail="the simulated depot is away")
        self.store.arrive(target.image_id)

    def close(self) -> None:
        for process in self._processes.values():
            process.incarnation.alive = False
        self.kernel.close()


def _upto(count: int) -> range:
    return range(1, count + 1)


def _foreign(machine: str) -> GuestRecord:
    """A domain of somebody else, running since before Drover came."""
    return GuestRecord(
        uuid=f"{FOREIGN}-{machine}",
        name=f"{FOREIGN}-{machine}",
        deployment_id="of somebody else",
        epoch=1,
        defined=True,
        power_state=PowerState.RUNNING,
        boots=1,
    )

"""A lab: N hypervisor hosts on one machine, with everything they need beside them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from drover import errors
from drover.lab import libvirtd, port_block, readiness
from drover.lab.fake_host import FakeHosts
from drover.lab.layout import Layout
from drover.lab.machine import Machines
from drover.lab.namespace_host import NamespaceHosts
from drover.lab.part import Parts, together
from drover.lab.readiness import Goal
from drover.lab.service import POSTGRESQL, RABBITMQ, Services, agent_of
from drover.lab.spec import Driver, LabSpec, check_own, load, save, settled, validate
from drover.runtime import Runtime, program

__all__ = ["Lab", "PartStatus"]

#: seconds that a part asked to end has to do so
GRACE_S = 15.0

Report = Callable[[str], None]


def _silent(_: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """One part as it is now."""

    name: str
    state: str  # up, down, cut
    pid: int = 0
    log: str = ""


class Lab:
    """The lab of one directory. All state is there and in the processes' marks, so any process may work on it.

    Parts are named ``rabbitmq``, ``postgresql``, ``conductor``, ``scheduler``, ``fabric``, ``relay``, ``host1``
    (the machine itself), ``host1.agent`` and ``host1.libvirtd``.
    """

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        self.layout = Layout(directory.resolve())
        self._runtime = runtime
        self._parts = Parts(self.layout, runtime)

    # the whole

    def up(self, wanted: LabSpec | None = None, report: Report = _silent) -> None:
        """Make it, grow it, or start what of it does not run; ready afterwards.

        :param wanted: ``None``: as it is.
        :param report: told what is being done, a line each.
        :raises errors.BadInput: no such lab is possible. LabFailed, Unavailable: a part did not start.
        """
        validate(wanted or self.spec(), self.layout.directory)
        with self._locked(make=True):
            spec = self._settle(wanted)
            report(f"{spec.hosts} hosts with the {spec.driver} driver in {self.layout.directory}")
            began = self._runtime.clock.now()
            machines, services = self._machines(spec), self._services(spec)
            fresh: list[str] = []
            serving = [lambda: self._serve(services, fresh)] if spec.services else []
            together(self._runtime, [*serving, lambda: self._boot(spec, machines)])
            if not spec.services:
                return
            parts = self._part_names(spec)
            agents = tuple(map(agent_of, spec.host_names()))
            goal = Goal(parts=tuple(name for name in parts if name not in agents), since=began)
            # An agent whose first call comes before there is a queue for it waits a whole RPC timeout.
            readiness.wait(self._runtime, self.layout, self._parts, services, goal)
            booted = [host for host in spec.host_names() if services.start_agent(machines, host)]
            if fresh or booted:
                report("started " + ", ".join([*fresh, *map(agent_of, booted)]))
            goal = replace(goal, parts=parts, hosts=spec.host_names(), fresh=tuple(booted))
            readiness.wait(self._runtime, self.layout, self._parts, services, goal)
            libvirtd.keep_findings(self.layout.host(spec.host_names()[0]))

    def down(self) -> None:
        """Take everything away: processes, namespaces, the directory. Works on any rest of a lab, and on none.

        :raises errors.BadInput: the directory holds something else.
        """
        if not self.layout.directory.exists():
            self._parts.end_all()
            return
        with self._locked():
            check_own(self.layout)
            self._parts.end_all()
            self._services(LabSpec(hosts=1)).remove_servers()
            self._remove()

    def status(self) -> tuple[PartStatus, ...]:
        """Every part that the lab should have."""
        spec = self.spec()
        machines, services = self._machines(spec), self._services(spec)
        running = self._parts.running()
        cut = {machines.parts(host)[0] for host in spec.host_names() if machines.is_cut(host)}
        found: list[PartStatus] = []
        if spec.services:
            for name, pid in services.server_pids().items():
                found.append(_status(name, pid, services.server_log(name)))
        for name in self._part_names(spec):
            one = running.get(name)
            status = _status(name, one.pid if one else 0, self.layout.log(name))
            found.append(replace(status, state="cut") if one and name in cut else status)
        return tuple(found)

    def exists(self) -> bool:
        return load(self.layout) is not None

    def spec(self) -> LabSpec:
        """:raises errors.LabFailed: there is no lab in the directory."""
        spec = load(self.layout)
        if spec is None:
            raise errors.LabFailed(reason=f"there is none in {self.layout.directory}; drover lab up makes one")
        return spec

    @property
    def config_file(self) -> Path:
        """For ``DROVER_CONFIG``."""
        return self.layout.client_config

    # hosts

    def crash(self, host: str) -> None:
        """Power failure of a host: its agent, libvirtd and guests are gone at once, its disks stay."""
        self._machines(self._spec_with(host)).crash(host)

    def boot(self, host: str) -> None:
        """Start a host that crashed, or what of it does not run, and its agent; it registers in its own time."""
        with self._locked():
            spec = self._spec_with(host)
            machines = self._machines(spec)
            machines.prepare()
            machines.boot(host)
            if spec.services:
                self._services(spec).start_agent(machines, host)
                self._parts.await_running(agent_of(host))

    def cut(self, host: str) -> None:
        """Take a host's management link away."""
        self._machines(self._spec_with(host)).cut(host)

    def heal(self, host: str) -> None:
        """Give it back."""
        self._machines(self._spec_with(host)).heal(host)

    def run(
        self, host: str, argv: Sequence[str], *, capture: bool = True, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on a host (or ``fabric``) and wait for it; its exit status is the caller's to judge.

        :raises errors.LabFailed: the host does not run, or is a fake one: what ran, would run on this machine.
        """
        command = self._machines(self._with_libvirt(self.spec())).command(host, argv)
        return subprocess.run(command, check=False, text=True, capture_output=capture, timeout=timeout_s, cwd="/")

    def uri(self, host: str) -> str:
        """The host's libvirt, for processes of the machine itself.

        :raises errors.LabFailed: it is a fake host.
        """
        self._with_libvirt(self._spec_with(host))
        return libvirtd.uri(self.layout.socket(host))

    # parts

    def kill(self, name: str, number: int = program.KILL) -> None:
        """Send a signal to one part. Killed it stays dead until somebody starts it.

        :raises errors.LabFailed: it does not run. NotFound: the lab has no such part.
        """
        self._check_part(name)
        if name in (RABBITMQ, POSTGRESQL) and number == program.KILL:
            self._services(self.spec()).kill_server(name)
            return
        one = self._parts.running().get(name)
        if one is None or not program.send(one, number):
            raise errors.LabFailed(reason=f"{name} does not run")
        if number == program.KILL:
            program.wait(one, GRACE_S)

    def restart(self, name: str, report: Report = _silent) -> None:
        """End one part in good order, or reset a host, and start what is missing then.

        :raises errors.NotFound: the lab has no such part.
        """
        self._check_part(name)
        spec = self.spec()
        if name in spec.host_names():
            self.crash(name)
        elif name in (RABBITMQ, POSTGRESQL):
            self._services(spec).stop_server(name)
        else:
            self._parts.end([name], grace_s=GRACE_S)
        self.up(report=report)

    # within

    def _settle(self, wanted: LabSpec | None) -> LabSpec:
        check_own(self.layout)
        found = load(self.layout)
        spec = settled(wanted, found) if wanted else self.spec()
        if found is None:
            spec = replace(spec, first_port=port_block.claim(self.layout.directory))
        if spec != found:
            save(spec, self.layout)
        for directory in (self.layout.logs, self.layout.configs):
            directory.mkdir(exist_ok=True)
        return spec

    def _remove(self) -> None:
        """What says that the directory is a lab's goes last: whoever is killed here can be followed by another."""
        for entry in self.layout.directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != self.layout.spec:
                entry.unlink()
        self.layout.spec.unlink(missing_ok=True)
        self.layout.directory.rmdir()

    def _serve(self, services: Services, fresh: list[str]) -> None:
        """What stands beside the hosts; it comes up also when one of them does not. Names of started parts go to *fresh*."""
        together(self._runtime, services.server_starts())
        services.configure()
        fresh += services.start_missing()

    def _boot(self, spec: LabSpec, machines: Machines) -> None:
        machines.prepare()
        first, *others = spec.host_names()
        if spec.driver is Driver.LIBVIRT and not libvirtd.has_kept_findings():
            machines.boot(first)  # it finds out what QEMU can do, for all
        together(self._runtime, [lambda host=host: machines.boot(host) for host in (first, *others)])  # type: ignore[misc]

    def _part_names(self, spec: LabSpec) -> tuple[str, ...]:
        machines = self._machines(spec)
        names = [*(self._services(spec).names() if spec.services else ()), *machines.shared_parts()]
        for host in spec.host_names():
            names += [*machines.parts(host), *([agent_of(host)] if spec.services else [])]
        return tuple(names)

    def _machines(self, spec: LabSpec) -> Machines:
        kind = NamespaceHosts if spec.driver is Driver.LIBVIRT else FakeHosts
        return kind(spec, self.layout, self._parts, self._runtime)

    def _services(self, spec: LabSpec) -> Services:
        return Services(spec, self.layout, self._parts, self._runtime)

    def _check_part(self, name: str) -> None:
        """:raises errors.NotFound: the lab has no such part."""
        spec = self.spec()
        servers = (RABBITMQ, POSTGRESQL) if spec.services else ()
        if name not in (*servers, *self._part_names(spec), *spec.host_names()):
            raise errors.NotFound(what="part of the lab", ref=name)

    def _with_libvirt(self, spec: LabSpec) -> LabSpec:
        """:raises errors.LabFailed: its hosts are fake."""
        if spec.driver is Driver.FAKE:
            raise errors.LabFailed(reason="its hosts are fake: there is no machine behind them")
        return spec

    def _spec_with(self, host: str) -> LabSpec:
        spec = self.spec()
        if host not in spec.host_names():
            raise errors.HostNotFound(ref=host)
        return spec

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[None]:
        """One at a time makes or unmakes this lab. The lock is on the directory itself, which leaves no file behind."""
        while True:
            if make:
                # PostgreSQL and RabbitMQ run as users of their own, who must get through.
                self.layout.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle = os.open(self.layout.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if _is_still(self.layout.directory, handle):
                    yield
                    return
            finally:
                os.close(handle)


def _is_still(directory: Path, handle: int) -> bool:
    """Whether the locked directory was not taken away while we waited for the lock."""
    try:
        return directory.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def _status(name: str, pid: int, log: Path) -> PartStatus:
    return PartStatus(name=name, state="up" if pid else "down", pid=pid, log=str(log))

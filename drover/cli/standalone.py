"""``drover standalone``: conductor, scheduler and agents in one process, over an in-process bus and SQLite.

Everything is kept in one directory: database, image depot, the hosts' state, the log, the socket for the command
line, and a ``drover.conf`` that names them.  The process may be killed at any instant; the next one goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import click

from agent.identity import FixedMachine, LinuxMachine, Machine
from agent.service import Agent, Ports
from agent.state_dir import FileStateDir
from agent.virt import registry
from conductor.service import Conductor, ConductorOptions
from drover import errors, log
from drover.cli.options import Command
from drover.cli.session import Session, pass_session
from drover.conf import Configuration, load
from drover.conf.agent import AgentSettings
from drover.conf.bus import BusSettings
from drover.conf.conductor import ConductorSettings
from drover.conf.database import DatabaseSettings
from drover.conf.depot import DepotSettings
from drover.conf.log import LogSettings
from drover.conf.registry import all_groups
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db import migration
from drover.db.engine import Database
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.event import EventHub
from drover.rpc.unix import UnixBusServer
from drover.runtime import Runtime
from drover.runtime.process import Fatal, Service, run
from scheduler.service import Scheduler

__all__ = ["Folder", "Standalone", "standalone"]

#: of the one conductor and the one scheduler
NAME = "standalone"
#: seconds for what runs at the end; the rest is found in the database by the next start
DRAIN_S = 10.0
#: bytes of a UNIX socket's path (sun_path holds 108 with the zero)
SOCKET_PATH_MAX = 107
SCHEME = "unix://"

CONFIGURATION = """\
# Written once by drover standalone, which reads it at each start: options may be added and changed.

[bus]
transport_url = {scheme}{path}/socket

[database]
connection = sqlite:///{path}/drover.sqlite

[depot]
directory = {path}/depot
listen_address = 127.0.0.1
listen_port = {port}
url = http://127.0.0.1:{port}

[conductor]
dead_letter_dir = {path}/dead-letters

[libvirt]
images_dir = {path}/images
instances_dir = {path}/instances

[log]
file = {path}/standalone.log
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """The directory of one standalone Drover."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "drover.conf"

    def prepare(self, runtime: Runtime) -> Configuration:
        """Make the directory, for this user alone, and its configuration file unless there is one.

        :raises errors.InvalidConfig: the path is too long for a socket, cannot be written, or the file is wrong.
        """
        if len(os.fsencode(self.path / "socket")) > SOCKET_PATH_MAX:
            raise errors.InvalidConfig(reason=f"{self.path} is too long for a socket in it ({SOCKET_PATH_MAX} bytes)")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.config_file.exists():
                self._write_configuration(runtime)
        except OSError as exc:
            raise errors.InvalidConfig(reason=f"{exc.filename}: {exc.strerror}") from None
        return load([str(self.config_file)], known=all_groups())

    def _write_configuration(self, runtime: Runtime) -> None:
        # Below the range from which Linux takes the ports of outgoing connections.
        port = 10_000 + runtime.random.randrange(20_000)
        text = CONFIGURATION.format(scheme=SCHEME, path=str(self.path).replace("$", "$$"), port=port)
        unfinished = self.config_file.with_suffix(".new")
        unfinished.write_text(text)
        unfinished.replace(self.config_file)  # a half-written file would be kept for ever

    def host_dir(self, host: str) -> Path:
        return self.path / "hosts" / host


class Standalone:
    """A :class:`drover.runtime.process.Service` of all services.

    :param hosts: names of fake hosts; empty: this machine, by libvirt.
    :param ready: called when everything serves.
    :raises errors.DatabaseInUse: another process works on this directory.
    """

    def __init__(
        self, runtime: Runtime, folder: Folder, hosts: tuple[str, ...], fatal: Fatal, ready: Callable[[], None]
    ) -> None:
        self.failure: Exception | None = None
        self._runtime = runtime
        self._folder = folder
        self._hosts = hosts
        self._fatal = fatal
        self._ready = ready
        self._configuration = folder.prepare(runtime)
        settings = self._configuration.get(DatabaseSettings)
        self._database = Database(settings.connection, settings, runtime)
        self._bus = EmbeddedBus(runtime, name=NAME)
        self._running = ExitStack()

    def start(self) -> None:
        try:
            self._start()
        except Exception as exc:
            self.failure = exc
            raise
        self._ready()

    def stop(self) -> None:
        """Drain for a bounded time: clients that wait for operations would hold it for long."""
        self._runtime.spawn("standalone-stop", self._running.close).join(DRAIN_S)

    def _start(self) -> None:
        # The lock of the database keeps a second process off everything here, so it is let go last.
        self._running.callback(self._database.close)
        migration.upgrade(self._database)
        services: list[Service] = [self._conductor(), self._scheduler(), *self._agents(), self._door()]
        for service in services:
            self._running.callback(service.stop)
            service.start()

    def _conductor(self) -> Conductor:
        conf = self._configuration
        options = ConductorOptions(
            conductor=conf.get(ConductorSettings), times=conf.get(TimeSettings), depot=conf.get(DepotSettings)
        )
        conductor = Conductor(self._runtime, self._bus, self._database, options, NAME)
        conductor.events = EventHub(self._runtime, NAME)
        return conductor

    def _scheduler(self) -> Scheduler:
        conf = self._configuration
        settings, times = conf.get(SchedulerSettings), conf.get(TimeSettings)
        return Scheduler(self._runtime, self._bus, self._database, settings, times, NAME)

    def _agents(self) -> list[Agent]:
        settings = self._configuration.get(AgentSettings)
        if self._hosts:
            return [self._fake_agent(settings, host) for host in self._hosts]
        machine = LinuxMachine(settings.machine_id_file, settings.boot_id_file)
        host = settings.host or machine.host_name()
        return [self._agent(replace(settings, host=host, driver="libvirt"), machine)]

    def _fake_agent(self, settings: AgentSettings, host: str) -> Agent:
        # The fake hypervisor is never switched off: its guests are records that outlive this process.
        return self._agent(replace(settings, host=host, driver="fake"), FixedMachine(host))

    def _agent(self, settings: AgentSettings, machine: Machine) -> Agent:
        settings = replace(settings, state_dir=str(self._folder.host_dir(settings.host)))
        backend = registry.load(settings.driver)(self._runtime, self._configuration, settings.state_dir, settings.host)
        ports = Ports(bus=self._bus, backend=backend, state_dir=FileStateDir(Path(settings.state_dir)), machine=machine)
        return Agent(self._runtime, ports, settings, self._configuration.get(TimeSettings), fatal=self._died)

    def _door(self) -> UnixBusServer:
        url = self._configuration.get(BusSettings).transport_url
        if not url.startswith(f"{SCHEME}/"):
            raise errors.InvalidConfig(reason=f"[bus] transport_url of {self._folder.config_file} must be unix:///PATH")
        return UnixBusServer(self._runtime, self._bus, url.removeprefix(SCHEME))

    def _died(self, exc: Exception) -> None:
        self.failure = exc
        self._fatal(exc)


def default_directory() -> Path:
    """``/var/lib/drover/standalone`` of root, below the XDG state directory of others."""
    if os.geteuid() == 0:
        return Path("/var/lib/drover/standalone")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "drover" / "standalone"


@click.command("standalone", cls=Command)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default=default_directory,
    metavar="DIR",
    help="Where all is kept.  [default: /var/lib/drover/standalone of root, else ~/.local/state/drover/standalone]",
)
@click.option(
    "--driver",
    type=click.Choice(["fake", "libvirt"]),
    default="fake",
    show_default=True,
    help="fake: hosts whose guests are records; libvirt: this machine.",
)
@click.option("--hosts", type=click.IntRange(1, 1000), default=3, show_default=True, help="So many fake hosts.")
@pass_session
def standalone(session: Session, directory: Path, driver: str, hosts: int) -> None:
    """Run all of Drover in this process, until interrupted.

    Needs no broker, no database server and, with the fake driver, no root. What was built is there again at the
    next start. In another terminal: export DROVER_CONFIG=DIR/drover.conf
    """
    folder, fatal = Folder(directory), Fatal()
    names = tuple(f"fake-{n + 1}" for n in range(hosts)) if driver == "fake" else ()

    def ready() -> None:
        words = (
            f"drover standalone is ready: {f'{hosts} fake hosts' if names else 'this machine, by libvirt'}\n"
            f"In another terminal: export DROVER_CONFIG={folder.config_file}\n"
            "Interrupt ends it; everything is kept for the next start."
        )
        session.printer.confirm({"config_file": str(folder.config_file), "hosts": list(names)}, words)
        session.printer.flush()

    service = Standalone(session.runtime, folder, names, fatal, ready)
    logs = load([str(folder.config_file)]).get(LogSettings)
    log.setup("standalone", level="DEBUG" if session.debug else logs.level, file="" if session.debug else logs.file)
    status = run(service, session.runtime, "standalone", fatal=fatal)
    if service.failure is not None:
        raise service.failure
    if status:
        raise click.exceptions.Exit(status)

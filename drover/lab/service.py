"""What stands beside the hosts of a lab: RabbitMQ, PostgreSQL, conductors, schedulers, and the hosts' agents.

All but the agents run on the machine itself and listen on loopback only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drover.lab import config
from drover.lab.layout import Layout
from drover.lab.machine import Machines
from drover.lab.part import Parts
from drover.lab.postgres import PrivatePostgres
from drover.lab.rabbitmq import PrivateRabbit
from drover.lab.spec import LabSpec
from drover.runtime import Runtime

__all__ = ["POSTGRESQL", "RABBITMQ", "Services", "agent_of"]

RABBITMQ = "rabbitmq"
POSTGRESQL = "postgresql"
#: libraries that start threads per CPU have nothing to do with them here
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def agent_of(host: str) -> str:
    return f"{host}.agent"


class Services:
    """The services of one lab."""

    def __init__(self, spec: LabSpec, layout: Layout, parts: Parts, runtime: Runtime) -> None:
        self._spec = spec
        self._layout = layout
        self._parts = parts
        self._runtime = runtime
        self._rabbitmq = PrivateRabbit(layout.rabbitmq, runtime, port=spec.broker_port, dist_port=spec.broker_dist_port)
        self._postgresql = PrivatePostgres(layout.postgresql, port=spec.database_port)

    def names(self) -> tuple[str, ...]:
        """Conductors and schedulers."""
        return (*_numbered("conductor", self._spec.conductors), *_numbered("scheduler", self._spec.schedulers))

    def server_starts(self) -> tuple[Callable[[], None], ...]:
        """What brings up broker and database, to be done side by side."""
        return self._rabbitmq.start, self._start_database

    def server_pids(self) -> dict[str, int]:
        """Broker and database by name; 0 when one does not run."""
        return {RABBITMQ: self._rabbitmq.pid() or 0, POSTGRESQL: self._postgresql.pid() or 0}

    def server_log(self, name: str) -> Path:
        return self._rabbitmq.directory / "output.log" if name == RABBITMQ else self._postgresql.log_file

    def kill_server(self, name: str) -> None:
        """As a crash of the broker or the database."""
        self._rabbitmq.kill9() if name == RABBITMQ else self._postgresql.kill9()

    def stop_server(self, name: str) -> None:
        self._rabbitmq.stop() if name == RABBITMQ else self._postgresql.stop()

    def remove_servers(self) -> None:
        """End both at once and for good; what they kept outside their directories goes with them."""
        self._rabbitmq.kill9()
        self._rabbitmq.stop()
        self._postgresql.kill9()
        self._postgresql.stop()

    def configure(self) -> None:
        """Write every configuration file; broker and database have run before."""
        broker_url, database_url = self._rabbitmq.url, self._postgresql.url
        urls = (broker_url, database_url)
        files = {self._layout.client_config: config.drover_config(broker_url)}
        for name in _numbered("conductor", self._spec.conductors):
            files[self._layout.config(name)] = config.conductor_config(self._spec, self._layout, name, urls)
        for name in _numbered("scheduler", self._spec.schedulers):
            files[self._layout.config(name)] = config.scheduler_config(self._spec, name, urls)
        for host in self._spec.host_names():
            files[self._layout.config(agent_of(host))] = config.agent_config(self._spec, self._layout, host, broker_url)
        for path, sections in files.items():
            _write(path, config.render(sections))

    def start_missing(self) -> tuple[str, ...]:
        """Start conductors and schedulers that do not run; their names."""
        running = self._parts.running()
        missing = tuple(name for name in self.names() if name not in running)
        for name in missing:
            self._parts.start(name, self._command(name.rstrip("0123456789"), name), _ENVIRONMENT)
        return missing

    def start_agent(self, machines: Machines, host: str) -> bool:
        """Start a host's agent; ``False`` when it runs already."""
        name = agent_of(host)
        if name in self._parts.running():
            return False
        self._parts.start(name, machines.command(host, self._command("agent", name)), _ENVIRONMENT)
        return True

    def _command(self, package: str, name: str) -> Sequence[str]:
        return sys.executable, "-m", package, "--config-file", str(self._layout.config(name))

    def _start_database(self) -> None:
        # Half a second of imports that only this one step needs.
        from drover.conf.database import DatabaseSettings
        from drover.db import migration
        from drover.db.engine import Database

        self._postgresql.start()
        settings = DatabaseSettings(connection=self._postgresql.url)
        database = Database(settings.connection, settings, self._runtime)
        try:
            migration.upgrade(database)
        finally:
            database.close()


def _numbered(name: str, count: int) -> tuple[str, ...]:
    """``conductor``, ``conductor2`` …"""
    return tuple(name if number == 1 else f"{name}{number}" for number in range(1, count + 1))


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner only: it holds passwords."""
    beside = path.with_name(f".{path.name}")
    beside.touch(mode=0o600)
    beside.write_text(text)
    beside.rename(path)

"""The ``drover-conductor`` process."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from functools import partial

from conductor.service import Conductor, ConductorOptions
from drover import errors, log
from drover.conf import Configuration, load
from drover.conf.bus import BusSettings
from drover.conf.conductor import ConductorSettings
from drover.conf.database import DatabaseSettings
from drover.conf.depot import DepotSettings
from drover.conf.event import EventSettings
from drover.conf.health import HealthSettings
from drover.conf.log import LogSettings
from drover.conf.registry import all_groups
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.db.migration import wait_for_schema
from drover.db.notice import answers
from drover.health import Health, Probe, Told, reaches_broker
from drover.rpc.connect import connect
from drover.rpc.event import EventSink, NoEvents
from drover.rpc.rabbit_event import RabbitEvents
from drover.runtime import Runtime, points
from drover.runtime.process import run
from drover.runtime.threads import ThreadRuntime

__all__ = ["serve"]


class _Process:
    """Waits for its schema before it becomes a conductor."""

    def __init__(self, runtime: ThreadRuntime, database: Database, conductor: Conductor) -> None:
        self._runtime = runtime
        self._database = database
        self._conductor = conductor
        self._stopped = runtime.event()

    def start(self) -> None:
        wait_for_schema(self._database, self._runtime, self._stopped.is_set)
        self._conductor.start()

    def stop(self) -> None:
        self._stopped.set()
        self._conductor.stop()
        self._database.close()


def serve() -> int:
    """Read the configuration, serve until SIGTERM, drain."""
    parser = argparse.ArgumentParser(prog="drover-conductor")
    parser.add_argument("--config-file", action="append", default=[])
    arguments = parser.parse_args()
    try:
        configuration = load(arguments.config_file, known=all_groups())
        logs = configuration.get(LogSettings)
        log.setup("conductor", level=logs.level, file=logs.file)
        runtime = ThreadRuntime()
        settings = configuration.get(ConductorSettings)
        name = settings.name or f"{socket.gethostname()}-{os.getpid()}"
        database_settings = configuration.get(DatabaseSettings)
        database = Database(database_settings.connection, database_settings, runtime)
        bus = connect(runtime, configuration.get(BusSettings), f"conductor-{name}")
        options = ConductorOptions(
            conductor=settings, times=configuration.get(TimeSettings), depot=configuration.get(DepotSettings)
        )
        stops = points.from_environment(runtime, os.environ)
        conductor = Conductor(runtime, bus, database, options, name, stops)
        conductor.events = _events(runtime, configuration, name)
        probes: dict[str, Probe] = {"bus": reaches_broker(bus), "database": partial(answers, database)}
        health = Health(runtime, configuration.get(HealthSettings), "conductor", name, probes)
    except errors.DroverError as exc:
        print(f"error: {exc.code}: {exc}", file=sys.stderr)  # noqa: T201  the log may not be there yet
        return exc.exit_code
    code = run(Told(_Process(runtime, database, conductor), health), runtime, f"conductor {name}")
    conductor.events.close()
    bus.close()
    return code


def _events(runtime: Runtime, configuration: Configuration, name: str) -> EventSink:
    settings = configuration.get(EventSettings)
    return RabbitEvents(runtime, configuration.get(BusSettings), settings, name) if settings.enabled else NoEvents()

"""The ``drover-scheduler`` process, and ``drover-scheduler snapshot``."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from functools import partial
from pathlib import Path

from drover import errors, log
from drover.conf import Configuration, load
from drover.conf.bus import BusSettings
from drover.conf.database import DatabaseSettings
from drover.conf.health import HealthSettings
from drover.conf.log import LogSettings
from drover.conf.registry import all_groups
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.db.migration import wait_for_schema
from drover.db.notice import answers
from drover.health import Health, Probe, Told, reaches_broker
from drover.rpc.connect import connect
from drover.runtime import points
from drover.runtime.process import run
from drover.runtime.threads import ThreadRuntime
from scheduler.plugin import load_chain
from scheduler.service import Scheduler
from scheduler.snapshot import pack, take

__all__ = ["serve"]


class _Process:
    """Waits for its schema before it becomes a scheduler."""

    def __init__(self, runtime: ThreadRuntime, database: Database, scheduler: Scheduler) -> None:
        self._runtime = runtime
        self._database = database
        self._scheduler = scheduler
        self._stopped = runtime.event()

    def start(self) -> None:
        wait_for_schema(self._database, self._runtime, self._stopped.is_set)
        self._scheduler.start()

    def stop(self) -> None:
        self._stopped.set()
        self._scheduler.stop()
        self._database.close()


def serve() -> int:
    """Read the configuration; serve until SIGTERM and drain, or write a snapshot."""
    arguments = _arguments()
    try:
        configuration = load(arguments.config_file, known=all_groups())
        return _snapshot(configuration, arguments) if arguments.command == "snapshot" else _run(configuration)
    except errors.DroverError as exc:
        print(f"error: {exc.code}: {exc}", file=sys.stderr)  # noqa: T201  the log may not be there yet
        return exc.exit_code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="drover-scheduler")
    parser.add_argument(
        "command",
        nargs="?",
        choices=("serve", "snapshot"),
        default="serve",
        help="serve (what it does unless told otherwise), or write the fleet and its newest requests to a file",
    )
    parser.add_argument("--config-file", action="append", default=[])
    parser.add_argument("--output", type=Path, metavar="FILE", help="of the snapshot (gzip of JSON lines)")
    parser.add_argument("--requests", type=int, default=10_000, help="at most so many in the snapshot; 10000")
    arguments = parser.parse_args()
    if arguments.command == "snapshot" and (arguments.output is None or arguments.requests < 0):
        parser.error("snapshot needs --output FILE, and --requests of 0 or more")
    return arguments


def _run(configuration: Configuration) -> int:
    logs = configuration.get(LogSettings)
    log.setup("scheduler", level=logs.level, file=logs.file)
    runtime = ThreadRuntime()
    settings = configuration.get(SchedulerSettings)
    name = settings.name or f"{socket.gethostname()}-{os.getpid()}"
    database_settings = configuration.get(DatabaseSettings)
    database = Database(database_settings.connection, database_settings, runtime)
    bus = connect(runtime, configuration.get(BusSettings), f"scheduler-{name}")
    scheduler = Scheduler(runtime, bus, database, settings, configuration.get(TimeSettings), name)
    scheduler.points = points.from_environment(runtime, os.environ)
    probes: dict[str, Probe] = {"bus": reaches_broker(bus), "database": partial(answers, database)}
    health = Health(runtime, configuration.get(HealthSettings), "scheduler", name, probes)
    code = run(Told(_Process(runtime, database, scheduler), health), runtime, f"scheduler {name}")
    bus.close()
    return code


def _snapshot(configuration: Configuration, arguments: argparse.Namespace) -> int:
    """Reads only, beside schedulers that serve; the file is there whole or not at all."""
    runtime = ThreadRuntime()
    settings = configuration.get(SchedulerSettings)
    database_settings = configuration.get(DatabaseSettings)
    database = Database(database_settings.connection, database_settings, runtime)
    try:
        with database.read() as conn:
            taken = take(conn, settings, load_chain(settings), runtime.clock.now(), arguments.requests)
    finally:
        database.close()
    unfinished = arguments.output.with_name(f"{arguments.output.name}.new")
    try:
        unfinished.write_bytes(pack(taken))
        unfinished.replace(arguments.output)
    except OSError as exc:
        raise errors.BadInput(reason=f"{arguments.output}: {exc.strerror}") from None
    print(f"{arguments.output}: {taken.head.hosts} hosts, {taken.head.requests} requests")  # noqa: T201  its answer
    return 0

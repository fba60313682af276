"""How fast a scheduler decides, and what it holds.

    python -m tests.bench.scheduler [--hosts N …]
    python -m tests.bench.scheduler --snapshot FILE      what drover-scheduler snapshot wrote, replayed

Each size of fleet has a process of its own, with everything imported that drover-scheduler imports.  Times are CPU
time of that process: on a core of its own, the time that passes.  Nothing is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import insert, update

from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.db import schema
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.runtime.threads import ThreadRuntime
from scheduler.decide import Limits, decide
from scheduler.fleet import Fleet
from scheduler.host_table import HostTable
from scheduler.plugin import Chain, load_chain
from scheduler.snapshot import rewind, unpack
from scheduler.spec import PlacementSpec
from tests.bench import meter, scheduler_fleet
from tests.bench.report import percentile, write

__all__ = ["main"]

#: operations of one pass, as shipped
_BATCH = SchedulerSettings().batch
_ROUNDS = 7
_SINGLES = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scheduler")
    parser.add_argument("--hosts", type=int, action="append", help="100, 1000 and 10000 unless told otherwise")
    parser.add_argument("--snapshot", type=Path)
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.row is not None:
        print(json.dumps(_row(options.row)))
    elif options.snapshot is not None:
        write("scheduler_replay", _replayed(options.snapshot))
    else:
        rows = [_row_of_its_own(hosts) for hosts in options.hosts or (100, 1000, 10000)]
        write("scheduler", {"batch": _BATCH, "rows": rows})


def _row_of_its_own(hosts: int) -> dict[str, Any]:
    command = (sys.executable, "-m", "tests.bench.scheduler", "--row", str(hosts))
    row: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return row


def _row(hosts: int) -> dict[str, Any]:
    import drover.rpc.transport
    import scheduler.cmd

    del drover, scheduler  # to be in memory, as in a scheduler
    loop_ms = meter.loop_ms()
    chain, limits = load_chain(SchedulerSettings()), Limits()
    runtime = ThreadRuntime()
    database = Database("sqlite://", DatabaseSettings(), runtime)
    _store(database, hosts)
    fleet = Fleet(runtime.clock, 3600.0, chain)
    with database.read() as conn:
        table = fleet.refresh(conn)
    singles = scheduler_fleet.mixed_requests(_SINGLES, hosts)
    mixed = scheduler_fleet.mixed_requests(_BATCH, hosts)
    equal = scheduler_fleet.equal_requests(_BATCH)
    refresh_ms = median(_refresh_ms(database, fleet, max(1, hosts // 100), run) for run in range(_ROUNDS))
    row = {
        "hosts": hosts,
        **_latencies(table, singles, chain, limits),
        "mixed_decisions_per_s": _rate(lambda: decide(table, mixed, chain, limits), _BATCH),
        "identical_decisions_per_s": _rate(lambda: decide(table, equal, chain, limits), _BATCH),
        "refresh_ms_1pct": round(refresh_ms, 2),
        "rss_mib": meter.memory(os.getpid()).rss_mib,
        "loop_ms": max(loop_ms, meter.loop_ms()),
    }
    database.close()
    return row


def _store(database: Database, hosts: int) -> None:
    rows = scheduler_fleet.hosts(hosts)
    beside = {"change": 1, "probation": ""}  # columns that the table of hosts does not read
    with database.write() as conn:
        schema.metadata.create_all(conn)
        conn.execute(
            insert(schema.host_capacity),
            [{name: getattr(row, name) for name in row.__dataclass_fields__} | beside for row in rows],
        )


def _refresh_ms(database: Database, fleet: Fleet, changed: int, run: int) -> float:
    """To read so many changed hosts and have the table with them, the statement of the database included."""
    names = [f"host-{(number * 97 + run) % (changed * 100):05}" for number in range(changed)]
    capacity = schema.host_capacity
    with database.write() as conn:
        bigger = update(capacity).where(capacity.c.host.in_(names))
        conn.execute(bigger.values(used_vcpus=capacity.c.used_vcpus + 1, change=change_stamp(conn)))
    with database.read() as conn:
        return _cpu_s(lambda: fleet.refresh(conn)) * 1000


def _latencies(table: HostTable, specs: Sequence[PlacementSpec], chain: Chain, limits: Limits) -> dict[str, float]:
    for spec in specs[:20]:
        decide(table, [spec], chain, limits)
    times_ms = [_cpu_s(lambda spec=spec: decide(table, [spec], chain, limits)) * 1000 for spec in specs]  # type: ignore[misc]
    return {f"single_p{share}_ms": round(percentile(times_ms, share / 100), 3) for share in (50, 99)}


def _rate(work: Callable[[], object], count: int) -> int:
    work()
    return round(count / median(_cpu_s(work) for _ in range(_ROUNDS)))


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _replayed(path: Path) -> dict[str, Any]:
    """A site's own fleet, by its own settings, from before the first of its requests."""
    snapshot = unpack(path.read_bytes())
    chain, limits = load_chain(snapshot.head.settings), Limits(alternates=snapshot.head.settings.alternates)
    table, specs = rewind(snapshot)
    choices = decide(table, specs, chain, limits)
    then = [request.placed.host if request.placed is not None else "" for request in snapshot.requests]
    placed = [pair for pair in zip(then, (choice.host for choice in choices), strict=True) if pair[0]]
    figures: dict[str, Any] = {
        "snapshot": path.name,
        "taken_at": snapshot.head.taken_at.isoformat(),
        "hosts": len(table),
        "requests": len(specs),
        "refused": sum(not choice.host for choice in choices),
        "same_host_as_then": round(sum(was == now for was, now in placed) / len(placed), 3) if placed else None,
        "loop_ms": meter.loop_ms(),
    }
    if specs:
        figures |= _latencies(table, specs[:_SINGLES], chain, limits)
        figures["decisions_per_s"] = _rate(lambda: decide(table, specs, chain, limits), len(specs))
    return figures


if __name__ == "__main__":
    main()

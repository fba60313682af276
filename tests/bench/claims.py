"""How many placements a second are claimed on PostgreSQL, by one scheduler and by several that race.

    python -m tests.bench.claims [--url URL] [--schedulers N …] [--batch N …] [--placements N]

A scheduler is a process; a round of it reads, decides, claims, and keeps decisions and steps, as in production, but for
the messages.  The database is a PostgreSQL of its own with synchronous commit, unless a URL is given.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from drover import retry
from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.db import migration, schema
from drover.db.engine import Database
from drover.lab.postgres import PrivatePostgres
from drover.runtime.threads import ThreadRuntime
from scheduler.decide import Limits
from scheduler.fleet import Fleet
from scheduler.placer import Batch, Placer
from scheduler.plugin import load_chain
from tests.bench import meter
from tests.bench.report import write
from tests.contract.store.claim_rows import add_builds, add_host, sums, used

__all__ = ["main"]

HOSTS = 100
_PATIENCE_S = 600


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.claims")
    parser.add_argument("--url", default="")
    parser.add_argument("--schedulers", type=int, action="append", help="1, 2 and 4 unless told otherwise")
    parser.add_argument("--batch", type=int, action="append", help="operations a round; 1, 20 and 100")
    parser.add_argument("--placements", type=int, default=4000)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        _work(options.url, options.worker, options.batch[0])
        return
    loop_ms = meter.loop_ms()
    with _database(options.url) as (store, url, server):
        rows = [
            _row(store, url, server, schedulers, batch, options.placements if batch > 1 else options.placements // 8)
            for schedulers in options.schedulers or (1, 2, 4)
            for batch in options.batch or (1, 20, 100)
        ]
    write("claims", {"hosts": HOSTS, "loop_ms": max(loop_ms, meter.loop_ms()), "rows": rows})


def _row(
    store: Database, url: str, server: psutil.Process, schedulers: int, batch: int, placements: int
) -> dict[str, Any]:
    ids = _prepare(store, placements)
    command = (sys.executable, "-m", "tests.bench.claims", "--url", url, "--batch", str(batch), "--worker")
    workers = [
        subprocess.Popen((*command, f"s{number}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(schedulers)
    ]
    for number, worker in enumerate(workers):
        _tell(worker, ids[number::schedulers])
        assert _hear(worker) == "ready"
    server_s, began = _cpu_s(server), time.perf_counter()
    for worker in workers:
        _tell(worker, "go")
    done = [_hear(worker) for worker in workers]
    took_s, server_s = time.perf_counter() - began, _cpu_s(server) - server_s
    assert [worker.wait(_PATIENCE_S) for worker in workers] == [0] * schedulers
    assert used(store) == sums(store)
    assert sum(amount.vcpus for amount in used(store).values()) == placements
    return {
        "schedulers": schedulers,
        "batch": batch,
        "placements_per_s": round(placements / took_s),
        "scheduler_cpu_ms_each": round(sum(each["cpu_s"] for each in done) / placements * 1000, 3),
        "postgresql_cpu_ms_each": round(server_s / placements * 1000, 3),
        "rounds_lost": sum(each["rounds_lost"] for each in done),
    }


def _prepare(store: Database, placements: int) -> list[str]:
    """Empty hosts with room for everything, and builds that wait."""
    with store.write() as conn:
        tables = ", ".join(f'"{name}"' for name in schema.metadata.tables)
        conn.execute(sa.text(f"TRUNCATE {tables}"))
    for number in range(HOSTS):
        add_host(store, f"h{number:03}", places=placements)
    ids = [f"o{number:05}" for number in range(placements)]
    add_builds(store, ids)
    with store.write() as conn:
        conn.execute(sa.text("ANALYZE"))  # as autovacuum does in time
    random.Random(1).shuffle(ids)
    return ids


def _work(url: str, name: str, batch: int) -> None:
    """One scheduler: its ids come first, then the word to begin."""
    runtime, settings = ThreadRuntime(), SchedulerSettings()
    store = Database(url, DatabaseSettings(), runtime)
    chain = load_chain(settings)
    fleet = Fleet(runtime.clock, 60.0, chain)
    placer = Placer(name, runtime.clock, store, fleet, chain, Limits())
    ids: list[str] = json.loads(sys.stdin.readline())
    with store.read() as conn:
        fleet.refresh(conn)
    print(json.dumps("ready"), flush=True)
    assert json.loads(sys.stdin.readline()) == "go"
    own_s, rounds_lost = time.process_time(), 0
    for first in range(0, len(ids), batch):
        waiting = Batch(ids[first : first + batch])
        retry.while_busy(runtime, lambda waiting=waiting: placer.advance(waiting))  # type: ignore[misc]
        while waiting.left:
            rounds_lost += 1
            retry.while_busy(runtime, lambda waiting=waiting: placer.advance(waiting))  # type: ignore[misc]
    print(json.dumps({"cpu_s": time.process_time() - own_s, "rounds_lost": rounds_lost}), flush=True)
    store.close()


def _tell(worker: subprocess.Popen[str], words: object) -> None:
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(words) + "\n")
    worker.stdin.flush()


def _hear(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    return json.loads(worker.stdout.readline())


def _cpu_s(server: psutil.Process) -> float:
    """CPU seconds of the server and all its children, ended ones too."""
    total = 0.0
    for process in (server, *server.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if process == server:
            total += times.children_user + times.children_system
    return total


@contextmanager
def _database(url: str) -> Iterator[tuple[Database, str, psutil.Process]]:
    """The database, its URL, and the server's first process (a server on this machine)."""
    directory = Path(tempfile.mkdtemp(prefix="drover-bench-"))
    directory.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    private = PrivatePostgres(directory, port=port, durable=True)
    if not url:
        private.start()
    store = Database(url or private.url, DatabaseSettings(), ThreadRuntime())
    try:
        migration.upgrade(store)
        with store.read() as conn:
            backend = psutil.Process(int(conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()))
        yield store, url or private.url, backend.parent() or backend
    finally:
        store.close()
        if not url:
            private.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()

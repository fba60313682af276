"""How fast decisions and claims are; prints JSON.

    python -m tests.bench.scheduler_micro [postgresql-url]

Without a URL it starts a private PostgreSQL with synchronous commit.  Figures are CPU seconds where the name
says so; claims also count the server's share by its own process times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import sqlalchemy as sa

from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.db import claim, migration, schema
from drover.db.engine import Database
from drover.db.host_table import HostRow
from drover.lab.postgres import PrivatePostgres
from drover.runtime.threads import ThreadRuntime
from scheduler.decide import Limits, decide
from scheduler.fleet import Fleet
from scheduler.host_table import HostTable
from scheduler.placer import Batch, Placer
from scheduler.plugin import Chain, load_chain
from scheduler.spec import PlacementSpec
from tests.contract.store.claim_rows import NOW, add_builds, add_host, ask_for, sums, used

BATCH = 256
HOSTS = 100
PLACEMENTS = 4000


def main() -> None:
    settings = SchedulerSettings()
    chain = load_chain(settings.filters, settings.weighers)
    figures: dict[str, object] = {"decisions": [decisions(hosts, chain) for hosts in (1000, 10000)]}
    with database(sys.argv[1] if len(sys.argv) > 1 else "") as (store, server):
        figures["rounds"] = [rounds(store, server, chain, batch) for batch in (1, 20, 100)]
        figures["claims"] = [claims(store, server, batch) for batch in (1, 20, 100)]
    print(json.dumps(figures, indent=2))


def decisions(hosts: int, chain: Chain) -> dict[str, object]:
    chance = random.Random(1)
    began = time.perf_counter()
    table = HostTable.build(some_hosts(hosts, chance))
    built_s = time.perf_counter() - began
    equal = [PlacementSpec(vcpus=2, memory_mib=2048, disk_gib=20, virt_type="kvm")] * BATCH
    mixed = [
        PlacementSpec(
            vcpus=chance.randrange(1, 9),
            memory_mib=512 * chance.randrange(1, 30),
            disk_gib=chance.randrange(1, 80),
            architecture="x86_64",
            virt_type=chance.choice(("kvm", "qemu", "")),
        )
        for _ in range(BATCH)
    ]
    return {
        "hosts": hosts,
        "table_built_s": round(built_s, 4),
        "identical_per_cpu_s": rate(lambda: decide(table, equal, chain, Limits()), BATCH),
        "mixed_per_cpu_s": rate(lambda: decide(table, mixed, chain, Limits()), BATCH),
    }


def some_hosts(count: int, chance: random.Random) -> list[HostRow]:
    """Three sizes, half filled, three in a hundred down, a third without KVM."""
    rows = []
    for number in range(count):
        vcpus = chance.choice((64, 128, 256))
        rows.append(
            HostRow(
                host=f"h{number:05}",
                enabled=1,
                disabled_reason="",
                up=int(chance.random() < 0.97),
                total_vcpus=vcpus,
                total_memory_mib=vcpus * 4096,
                total_disk_gib=vcpus * 20,
                used_vcpus=chance.randrange(vcpus),
                used_memory_mib=chance.randrange(vcpus * 4096),
                used_disk_gib=chance.randrange(vcpus * 20),
                architecture="x86_64",
                virt_types=chance.choice(('["kvm","qemu"]', '["kvm","qemu"]', '["qemu"]')),
                traits="[]",
            )
        )
    return rows


def rate(work: Callable[[], object], count: int) -> int:
    """The best of ten, by this process's CPU time."""
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return round(count / best)


def rounds(store: Database, server: psutil.Process, chain: Chain, batch: int) -> dict[str, object]:
    """Whole rounds: read, decide, claim, store decisions and steps."""
    ids = prepare(store)
    runtime = ThreadRuntime()
    placer = Placer("bench", runtime.clock, store, Fleet(runtime.clock, 60.0), chain, Limits())
    return measured(store, server, batch, [partial(placer.advance, Batch(chunk)) for chunk in chunks(ids, batch)])


def claims(store: Database, server: psutil.Process, batch: int) -> dict[str, object]:
    """Claims alone, over random hosts."""
    ids = prepare(store)
    chance = random.Random(1)

    def claim_all(chunk: Sequence[str]) -> None:
        with store.write() as conn:
            claim.claim(conn, [ask_for(each, f"h{chance.randrange(HOSTS):03}") for each in chunk], NOW)

    return measured(store, server, batch, [partial(claim_all, chunk) for chunk in chunks(ids, batch)])


def prepare(store: Database) -> list[str]:
    """Empty hosts with room for everything, and builds that wait."""
    with store.write() as conn:
        tables = ", ".join(f'"{name}"' for name in schema.metadata.tables)
        conn.execute(sa.text(f"TRUNCATE {tables}"))
    for number in range(HOSTS):
        add_host(store, f"h{number:03}", places=PLACEMENTS)
    ids = [f"o{number:05}" for number in range(PLACEMENTS)]
    add_builds(store, ids)
    with store.write() as conn:
        conn.execute(sa.text("ANALYZE"))  # as autovacuum does in time
    return ids


def measured(
    store: Database, server: psutil.Process, batch: int, work: Sequence[Callable[[], object]]
) -> dict[str, object]:
    began, own, its = time.perf_counter(), time.process_time(), cpu_s(server)
    for each in work:
        each()
    elapsed, own, its = time.perf_counter() - began, time.process_time() - own, cpu_s(server) - its
    assert used(store) == sums(store)
    assert sum(amount.vcpus for amount in used(store).values()) == PLACEMENTS
    return {
        "batch": batch,
        "hosts": HOSTS,
        "placements_per_s": round(PLACEMENTS / elapsed),
        "scheduler_cpu_ms_each": round(own / PLACEMENTS * 1000, 3),
        "postgresql_cpu_ms_each": round(its / PLACEMENTS * 1000, 3),
    }


def chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), size):
        yield ids[first : first + size]


def cpu_s(server: psutil.Process) -> float:
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
def database(url: str) -> Iterator[tuple[Database, psutil.Process]]:
    """The database and the server's first process."""
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
        yield store, postmaster(store)
    finally:
        store.close()
        if not url:
            private.stop()
        shutil.rmtree(directory)


def postmaster(store: Database) -> psutil.Process:
    """The parent of the process that serves our connection (a server on this machine)."""
    with store.read() as conn:
        pid = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    return psutil.Process(int(pid)).parent() or psutil.Process(os.getpid())


if __name__ == "__main__":
    main()

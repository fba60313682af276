"""What the scheduler reads of hosts: nothing that was committed may stay unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import insert, update

from drover.conf.scheduler import SchedulerSettings
from drover.db import claim, host_table
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.db.schema import allocation, host_capacity
from drover.db.schema import host as host_row
from drover.objects import codec
from drover.objects.hardware import Hardware, HardwareClaim, PciDevice
from drover.objects.host import HostUsage
from scheduler.fleet import USAGE_EVERY_S, Fleet
from scheduler.host_table import Count, HostTable, Resource
from scheduler.plugin import load_chain
from tests.contract.store.claim_rows import NOW, add_builds, add_host, ask_for


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW


def touch(db: Database, host: str, used_vcpus: int) -> None:
    with db.write() as conn:
        conn.execute(
            update(host_capacity)
            .where(host_capacity.c.host == host)
            .values(used_vcpus=used_vcpus, change=change_stamp(conn))
        )


def test_changes_since_a_snapshot(db: Database) -> None:
    add_host(db, "b")
    add_host(db, "a", enabled=0, disabled_reason="why")
    with db.read() as conn:
        everything = host_table.read_all(conn)
    assert {row.host: row.disabled_reason for row in everything.rows} == {"a": "why", "b": ""}
    touch(db, "b", 2)
    add_host(db, "c")
    with db.read() as conn:
        changed = host_table.read_changed(conn, everything.mark)
    assert {"b": 2, "c": 0}.items() <= {row.host: row.used_vcpus for row in changed.rows}.items()
    with db.read() as conn:
        later = host_table.read_changed(conn, changed.mark)
    touch(db, "a", 1)
    with db.read() as conn:
        assert "a" in {row.host for row in host_table.read_changed(conn, later.mark).rows}


def test_a_fleet_without_hosts(db: Database) -> None:
    with db.read() as conn:
        nothing = host_table.read_all(conn)
        assert nothing.rows == ()
        assert host_table.read_changed(conn, nothing.mark).rows == ()
    add_host(db, "a")
    with db.read() as conn:
        assert [row.host for row in host_table.read_changed(conn, nothing.mark).rows] == ["a"]


def test_a_row_of_a_transaction_that_commits_late_is_not_lost(pg: Database) -> None:
    """The earlier writer commits after the later one was seen: a counter would have passed it by."""
    add_host(pg, "early")
    add_host(pg, "late")
    with pg.read() as conn:
        mark = host_table.read_all(conn).mark
    with pg.write() as slow:
        slow.execute(
            update(host_capacity).where(host_capacity.c.host == "late").values(used_vcpus=3, change=change_stamp(slow))
        )
        touch(pg, "early", 2)
        with pg.read() as conn:
            seen = host_table.read_changed(conn, mark)
        assert {row.host: row.used_vcpus for row in seen.rows}["early"] == 2
    with pg.read() as conn:
        after = host_table.read_changed(conn, seen.mark)
    assert {row.host: row.used_vcpus for row in after.rows}["late"] == 3


def test_a_fleet_follows_the_database(db: Database) -> None:
    clock = ManualClock()
    fleet = Fleet(clock, reload_s=60.0)
    add_host(db, "b", places=4)

    def refresh() -> dict[str, int]:
        with db.read() as conn:
            table = fleet.refresh(conn)
        return dict(zip(table.rows, table.free[Resource.VCPUS].tolist(), strict=True))

    assert refresh() == {"b": 4}
    assert refresh() == {"b": 4}
    touch(db, "b", 3)
    assert refresh() == {"b": 1}
    add_host(db, "a", places=2)
    touch(db, "b", 0)
    assert refresh() == {"a": 2, "b": 4}
    with db.write() as conn:
        conn.execute(host_capacity.delete().where(host_capacity.c.host == "a"))
    assert refresh() == {"a": 2, "b": 4}  # a row that went leaves no trace until everything is read
    clock.seconds += 60.0
    assert refresh() == {"b": 4}


OFFER = codec.to_json(
    Hardware(devices=tuple(PciDevice(address=f"0000:0{n}:00.0", vendor_id="10de", product_id="1eb8") for n in range(3)))
)


def hold(db: Database, host: str, *addresses: str) -> None:
    """A placement with these devices and nothing else; as a claim does, it writes the host's row."""
    values = {
        "instance_uuid": f"i-{host}-{addresses}",
        "host": host,
        "epoch": 1,
        "state": "leaving",
        "operation_id": "o",
        "vcpus": 0,
        "memory_mib": 0,
        "disk_gib": 0,
        "created_at": "",
        "hardware": codec.to_json(HardwareClaim(devices=addresses)) if addresses else "",
        "group_id": "",
    }
    with db.write() as conn:
        conn.execute(insert(allocation).values(**values))
    touch(db, host, 0)


def refreshed(db: Database, fleet: Fleet) -> HostTable:
    with db.read() as conn:
        return fleet.refresh(conn)


def test_hardware_that_placements_hold_is_taken(db: Database) -> None:
    fleet = Fleet(ManualClock(), reload_s=60.0)
    add_host(db, "a", hardware=OFFER)
    add_host(db, "b", hardware=OFFER)
    add_host(db, "c")
    hold(db, "a", "0000:00:00.0")
    assert refreshed(db, fleet).devices.tolist() == [2, 3, 0]
    # The row of the host stays as it was, but for its stamp.
    hold(db, "b", "0000:01:00.0", "0000:02:00.0")
    hold(db, "a", "0000:01:00.0")
    assert refreshed(db, fleet).devices.tolist() == [1, 1, 0]
    with db.write() as conn:
        claim.release_many(conn, [("i-b-('0000:01:00.0', '0000:02:00.0')", "b", 1)])
    assert refreshed(db, fleet).devices.tolist() == [1, 3, 0]


def chain(**settings: Any) -> Any:
    return load_chain(SchedulerSettings(**settings))


def test_instances_are_counted_for_a_chain_that_needs_them(db: Database) -> None:
    needing = chain(filters=(*SchedulerSettings().filters, "instances"))
    clock = ManualClock()
    fleet, plain = Fleet(clock, 60.0, needing), Fleet(clock, 60.0, chain())
    add_host(db, "a")
    add_host(db, "b")
    hold(db, "b")
    assert refreshed(db, fleet).count(Count.INSTANCES).tolist() == [0, 1]
    add_builds(db, ["o-1"])
    with db.write() as conn:
        claim.claim(conn, [ask_for("o-1", "a")], NOW)
    assert refreshed(db, fleet).count(Count.INSTANCES).tolist() == [1, 1]
    add_host(db, "c")
    clock.seconds += 60.0
    assert refreshed(db, fleet).count(Count.INSTANCES).tolist() == [1, 1, 0]
    assert refreshed(db, plain).count(Count.INSTANCES).tolist() == [0, 0, 0]


def report(db: Database, name: str, usage: HostUsage) -> None:
    with db.write() as conn:
        conn.execute(sa.delete(host_row).where(host_row.c.name == name))
        values = dict.fromkeys(("host_uuid", "machine_id", "boot_id", "address", "version", "inventory", "fence"), "")
        numbers = dict.fromkeys(("session", "seq", "incarnation", "adopt"), 0)
        conn.execute(
            insert(host_row).values(
                name=name,
                usage=codec.to_json(usage),
                foreign_domains="[]",
                registered_at="",
                **values,
                **numbers,
            )
        )


def test_load_is_read_now_and_then_for_a_chain_that_needs_it(db: Database) -> None:
    clock = ManualClock()
    fleet = Fleet(clock, 60.0, chain(weighers=("load=1.0",)))
    add_host(db, "a")
    add_host(db, "b")
    report(db, "b", HostUsage(cpu_percent=50.0, io_operations=2, images=("i",)))
    table = refreshed(db, fleet)
    assert (table.cpu_load.tolist(), table.count(Count.IO_OPERATIONS).tolist()) == ([0.0, 0.5], [0, 2])
    assert table.images.having("i").tolist() == [False, True]
    report(db, "b", HostUsage(cpu_percent=100.0))
    touch(db, "b", 2)
    assert refreshed(db, fleet).cpu_load.tolist() == [0.0, 0.5]
    add_host(db, "c")
    assert refreshed(db, fleet).cpu_load.tolist() == [0.0, 0.5, 0.0]
    clock.seconds += USAGE_EVERY_S
    assert refreshed(db, fleet).cpu_load.tolist() == [0.0, 1.0, 0.0]


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    """What is sent to the database."""
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    with db.read() as conn:
        engine = conn.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize(("hardware", "most"), [("", 1), (OFFER, 2)])
def test_a_refresh_is_one_statement_and_one_more_where_hosts_have_hardware(
    db: Database, hardware: str, most: int
) -> None:
    fleet = Fleet(ManualClock(), 60.0, chain())
    add_host(db, "a", hardware=hardware)
    refreshed(db, fleet)
    touch(db, "a", 1)
    with statements(db) as sent:
        refreshed(db, fleet)
    assert len([text for text in sent if text.lstrip().upper().startswith("SELECT")]) == most


def test_taken_hardware_is_found_by_its_own_index(pg: Database) -> None:
    """Of 200,000 placements few hold any: they must not be read for it."""
    add_host(pg, "a", hardware=OFFER)
    hold(pg, "a", "0000:00:00.0")
    with statements(pg) as sent, pg.read() as conn:
        assert host_table.read_hardware_claims(conn) == {"a": [codec.to_json(HardwareClaim(devices=("0000:00:00.0",)))]}
    (query,) = (text for text in sent if "allocation" in text)
    with pg.write() as conn:  # a transaction, which the setting ends with
        conn.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(conn.execute(sa.text(f"EXPLAIN {query}")).scalars())
    assert "ix_allocation_hardware" in plan

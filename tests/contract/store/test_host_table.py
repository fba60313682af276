"""What the scheduler reads of hosts: nothing that was committed may stay unseen."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update

from drover.db import host_table
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.db.schema import host_capacity
from scheduler.fleet import Fleet
from scheduler.host_table import Resource
from tests.contract.store.claim_rows import NOW, add_host


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
        return dict(zip(table.names, table.free[Resource.VCPUS].tolist(), strict=True))

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

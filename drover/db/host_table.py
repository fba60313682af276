"""What the scheduler reads of hosts, and the stamp by which it finds what changed.

A plain change number loses rows: transaction 1 takes number 1, transaction 2 takes 2 and commits, the reader
notes 2, transaction 1 commits, and ``change > 2`` never returns its row.  On PostgreSQL the stamp is therefore
the writer's transaction id, and the reader asks for everything at or above the oldest transaction that was
still running when it last looked.  SQLite has one writer at a time, so a counter is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, cast, func, select

from drover.db.schema import host_capacity

__all__ = ["HostRow", "Snapshot", "change_stamp", "read_all", "read_changed"]


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host's capacity. ``virt_types`` and ``traits`` stay JSON text: hosts of one make share it, so readers decode it once."""

    host: str
    enabled: int
    disabled_reason: str
    up: int
    total_vcpus: int
    total_memory_mib: int
    total_disk_gib: int
    used_vcpus: int
    used_memory_mib: int
    used_disk_gib: int
    architecture: str
    virt_types: str
    traits: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows, and the mark to pass to the next :func:`read_changed`."""

    rows: tuple[HostRow, ...]
    mark: int


def change_stamp(conn: Connection) -> ColumnElement[int]:
    """The value of ``host_capacity.change`` for whoever inserts or updates a row in this transaction."""
    if conn.dialect.name == "postgresql":
        return _as_bigint(func.pg_current_xact_id())
    return select(func.coalesce(func.max(host_capacity.c.change), 0) + 1).scalar_subquery()


def read_all(conn: Connection) -> Snapshot:
    """Every host, by name."""
    mark = _mark(conn)
    return Snapshot(_rows(conn, _ROWS.order_by(host_capacity.c.host)), mark)


def read_changed(conn: Connection, since: int) -> Snapshot:
    """Every host written since the snapshot that gave the mark *since*; some of them may be as they were."""
    mark = _mark(conn)
    changed = _ROWS.where(host_capacity.c.change >= since).order_by(host_capacity.c.host)
    return Snapshot(_rows(conn, changed), mark)


_ROWS = select(*(host_capacity.c[name] for name in HostRow.__dataclass_fields__))


def _mark(conn: Connection) -> int:
    """Read before the rows: what commits in between is read now and once more, never missed."""
    if conn.dialect.name == "postgresql":
        oldest_running = _as_bigint(func.pg_snapshot_xmin(func.pg_current_snapshot()))
        return int(conn.execute(select(oldest_running)).scalar_one())
    return int(conn.execute(select(func.coalesce(func.max(host_capacity.c.change), 0))).scalar_one())


def _as_bigint(xid: Any) -> ColumnElement[int]:
    """64-bit transaction ids never wrap; PostgreSQL has no direct cast of ``xid8`` to a number."""
    return cast(cast(xid, Text), BigInteger)


def _rows(conn: Connection, query: Any) -> tuple[HostRow, ...]:
    return tuple(HostRow(*row) for row in conn.execute(query))

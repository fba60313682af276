"""What the scheduler reads of hosts, and the stamp by which it finds what changed.

A plain change number loses rows: transaction 1 takes number 1, transaction 2 takes 2 and commits, the reader
notes 2, transaction 1 commits, and ``change > 2`` never returns its row.  On PostgreSQL the stamp is therefore
the writer's transaction id, and the reader asks for everything at or above the oldest transaction that was
still running when it last looked.  SQLite has one writer at a time, so a counter is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    func,
    select,
    true,
)

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


def _as_bigint(xid: Any) -> ColumnElement[int]:
    """64-bit transaction ids never wrap; PostgreSQL has no direct cast of ``xid8`` to a number."""
    return cast(cast(xid, Text), BigInteger)


_LAST_CHANGE = func.coalesce(func.max(host_capacity.c.change), 0)
_STAMPS: dict[str, ColumnElement[int]] = {
    "postgresql": _as_bigint(func.pg_current_xact_id()),
    "sqlite": select(_LAST_CHANGE + 1).scalar_subquery(),
}
_MARKS: dict[str, ColumnElement[int]] = {
    "postgresql": _as_bigint(func.pg_snapshot_xmin(func.pg_current_snapshot())),
    "sqlite": select(_LAST_CHANGE).scalar_subquery(),
}


def _read_statement(dialect: str, which: ColumnElement[bool]) -> Select[Any]:
    """Mark and rows in one statement, hence of one snapshot: what it does not see is at or above the mark."""
    mark = select(_MARKS[dialect].label("mark")).subquery()
    columns = (host_capacity.c[name] for name in HostRow.__dataclass_fields__)
    return select(mark.c.mark, *columns).select_from(mark.outerjoin(host_capacity, which))


_ALL = {dialect: _read_statement(dialect, true()) for dialect in _MARKS}
_CHANGED = {dialect: _read_statement(dialect, host_capacity.c.change >= bindparam("since")) for dialect in _MARKS}


def change_stamp(conn: Connection) -> ColumnElement[int]:
    """The value of ``host_capacity.change`` for whoever inserts or updates a row in this transaction."""
    return _STAMPS[conn.dialect.name]


def read_all(conn: Connection) -> Snapshot:
    """Every host."""
    return _snapshot(conn.execute(_ALL[conn.dialect.name]).all())


def read_changed(conn: Connection, since: int) -> Snapshot:
    """Every host written since the snapshot that gave the mark *since*; some of them may be as they were."""
    return _snapshot(conn.execute(_CHANGED[conn.dialect.name], {"since": since}).all())


def _snapshot(rows: Sequence[Row[Any]]) -> Snapshot:
    # Without any such host there is still one row: the mark, and NULLs.
    return Snapshot(tuple(HostRow(*list(row)[1:]) for row in rows if row.host is not None), int(rows[0].mark))

"""What the scheduler reads of hosts, and the stamp by which it finds what changed.

A plain change number loses rows: transaction 1 takes number 1, transaction 2 takes 2 and commits, the reader
notes 2, transaction 1 commits, and ``change > 2`` never returns its row.  On PostgreSQL the stamp is therefore
the writer's transaction id, and the reader asks for everything at or above the oldest transaction that was
still running when it last looked.  SQLite has one writer at a time, so a counter is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    literal_column,
    select,
    true,
)

from drover.db.bulk import among, listed
from drover.db.schema import allocation, host, host_capacity
from drover.objects import codec
from drover.objects.host import HostUsage

__all__ = [
    "HostRow",
    "Snapshot",
    "change_stamp",
    "count_instances",
    "read_all",
    "read_changed",
    "read_hardware_claims",
    "read_usage",
]


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host's capacity. ``virt_types``, ``traits``, ``aggregates`` and ``hardware`` stay JSON text: hosts of one make
    share it, so readers decode it once."""

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
    draining: int = 0
    quarantine: str = ""
    failures: int = 0
    aggregates: str = "[]"
    hardware: str = ""


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


# Of a few hosts, or of all: the planner looks each of a few up by its name.
_OF = among(allocation.c.host, bindparam("hosts"))
# A literal: the partial index of these few rows is used only where its own words stand in the statement.
_HOLDING = select(allocation.c.host, allocation.c.hardware).where(allocation.c.hardware != literal_column("''"))
_COUNTED = select(allocation.c.host, func.count()).group_by(allocation.c.host)
_USAGE = select(host.c.name, host.c.usage).where(host.c.usage != literal_column("''"))


def read_hardware_claims(conn: Connection, hosts: Iterable[str] | None = None) -> dict[str, list[str]]:
    """What placements hold of the hardware of *hosts* (None: of all), in whatever state: JSON of each claim, by host."""
    rows = conn.execute(_HOLDING) if hosts is None else conn.execute(_HOLDING.where(_OF), {"hosts": listed(hosts)})
    claims: dict[str, list[str]] = {}
    for name, text in rows:
        claims.setdefault(name, []).append(text)
    return claims


def count_instances(conn: Connection, hosts: Iterable[str] | None = None) -> dict[str, int]:
    """How many placements *hosts* (None: all) have, in whatever state, by host; hosts without any are missing.

    Whoever adds or removes a placement writes its host's row, so hosts that did not change need no new count.
    """
    rows = conn.execute(_COUNTED) if hosts is None else conn.execute(_COUNTED.where(_OF), {"hosts": listed(hosts)})
    return {name: int(count) for name, count in rows}


def read_usage(conn: Connection) -> dict[str, HostUsage]:
    """The load that each host reported last."""
    return {name: codec.from_json(text, HostUsage) for name, text in conn.execute(_USAGE)}

"""Aggregates and the hosts in them. Rows in, values out; references are ids or names (unique).

What the scheduler has to know of a host's aggregates stands in ``host_capacity.aggregates`` too, and is written in the
transaction that changes them.  Whoever changes an aggregate holds its row, then the rows of its hosts in order of
their names, and only then reads what those are in: so of two who change different aggregates of one host, the second
sees what the first has written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, or_, select, update

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db.bulk import among, listed
from drover.db.engine import insert_ignore
from drover.db.host_table import change_stamp
from drover.db.schema import aggregate, aggregate_host, allocation, host_capacity
from drover.objects import codec
from drover.objects.group import Aggregate, HostAggregate

__all__ = [
    "add",
    "add_host",
    "change",
    "forget_host",
    "get",
    "guests_of",
    "has_zone",
    "hold",
    "hold_hosts",
    "hosts_of",
    "list_all",
    "remove",
    "remove_host",
    "zones_of",
]


def add(conn: Connection, new: Aggregate) -> None:
    """Insert *new* (``created_at`` set), without hosts.

    :raises errors.NameTaken: one has its name or id; the transaction must end.
    """
    assert new.created_at is not None, "whoever creates it says when"
    row = {"id": new.id, "name": new.name, **_values(new), "created_at": to_iso(new.created_at)}
    try:
        conn.execute(insert(aggregate), row)
    except errors.StoreConflict as exc:
        taken = {"uq_aggregate_name": new.name, "pk_aggregate": new.id}
        if (name := taken.get(str(exc.kwargs["constraint"]))) is not None:
            raise errors.NameTaken(what="aggregate", name=name) from exc
        raise


def _values(it: Aggregate) -> dict[str, str]:
    return {"availability_zone": it.availability_zone, "metadata": codec.to_json(it.metadata)}


def get(conn: Connection, ref: str) -> Aggregate:
    """:raises errors.AggregateNotFound: none has this id or name."""
    return _found(conn, conn.execute(_FIND, {"ref": ref}).all(), ref)


def hold(conn: Connection, ref: str) -> Aggregate:
    """:func:`get`, and nobody else changes it, or its hosts, until the transaction ends."""
    return _found(conn, conn.execute(_FIND.with_for_update(), {"ref": ref}).all(), ref)


_FIND = (
    select(aggregate)
    .where(or_(aggregate.c.id == bindparam("ref"), aggregate.c.name == bindparam("ref")))
    .order_by(aggregate.c.id)
)


def _found(conn: Connection, rows: Iterable[Row[Any]], ref: str) -> Aggregate:
    row = min(rows, key=lambda row: row.id != ref, default=None)
    if row is None:
        raise errors.AggregateNotFound(ref=ref)
    return _value(row, _hosts(conn, row.id).get(row.id, ()))


def list_all(conn: Connection) -> tuple[Aggregate, ...]:
    """By name."""
    hosts = _hosts(conn)
    rows = conn.execute(select(aggregate).order_by(aggregate.c.name))
    return tuple(_value(row, hosts.get(row.id, ())) for row in rows)


def hosts_of(**wanted: str) -> Select[Any]:
    """Names of the hosts of those aggregates that have these values in their columns."""
    found = select(aggregate_host.c.host).join(aggregate, aggregate.c.id == aggregate_host.c.aggregate_id)
    return found.where(*(aggregate.c[column] == value for column, value in wanted.items()))


def _hosts(conn: Connection, aggregate_id: str = "") -> dict[str, tuple[str, ...]]:
    """Names by aggregate id, of one or of all."""
    query = select(aggregate_host).order_by(aggregate_host.c.host)
    if aggregate_id:
        query = query.where(aggregate_host.c.aggregate_id == aggregate_id)
    found: dict[str, list[str]] = {}
    for row in conn.execute(query):
        found.setdefault(row.aggregate_id, []).append(row.host)
    return {each: tuple(names) for each, names in found.items()}


def _value(row: Row[Any], hosts: tuple[str, ...]) -> Aggregate:
    return Aggregate(
        id=row.id,
        name=row.name,
        availability_zone=row.availability_zone,
        metadata=codec.from_json(row.metadata, dict[str, str], what="aggregate"),
        hosts=hosts,
        created_at=from_iso(row.created_at),
    )


def has_zone(conn: Connection, zone: str) -> bool:
    """Whether a host is in this availability zone."""
    query = select(aggregate.c.id).join(aggregate_host, aggregate_host.c.aggregate_id == aggregate.c.id)
    return conn.execute(query.where(aggregate.c.availability_zone == zone).limit(1)).first() is not None


# --- changes -----------------------------------------------------------------------------------------------


def hold_hosts(conn: Connection, names: Iterable[str]) -> None:
    """Keep claims and other aggregates away from hosts until the transaction ends."""
    conn.execute(_HOLD_HOSTS, {"hosts": listed(names)})


_HOLD_HOSTS = (
    select(host_capacity.c.host)
    .where(among(host_capacity.c.host, bindparam("hosts")))
    .order_by(host_capacity.c.host)
    .with_for_update()
)


def zones_of(conn: Connection, names: Iterable[str], *, without: str = "") -> dict[str, str]:
    """Availability zones of those hosts that are in one.

    :param without: id of an aggregate that does not count.
    """
    query = (
        select(aggregate_host.c.host, aggregate.c.availability_zone)
        .join(aggregate, aggregate.c.id == aggregate_host.c.aggregate_id)
        .where(
            among(aggregate_host.c.host, bindparam("hosts")),
            aggregate.c.availability_zone != "",
            aggregate.c.id != without,
        )
    )
    return {row.host: row.availability_zone for row in conn.execute(query, {"hosts": listed(names)})}


def guests_of(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """How many placements hosts have, of those that have any."""
    rows = conn.execute(_GUESTS, {"hosts": listed(names)})
    return {row.host: int(row.guests) for row in rows}


_GUESTS = (
    select(allocation.c.host, func.count().label("guests"))
    .where(among(allocation.c.host, bindparam("hosts")))
    .group_by(allocation.c.host)
)


def change(conn: Connection, new: Aggregate) -> None:
    """Write zone and metadata of an aggregate that is held, with its hosts."""
    conn.execute(update(aggregate).where(aggregate.c.id == new.id).values(**_values(new)))
    _copy(conn, new.hosts)


def add_host(conn: Connection, to: Aggregate, name: str) -> None:
    """Both are held. A repeat does nothing."""
    conn.execute(insert_ignore(conn, aggregate_host), [{"aggregate_id": to.id, "host": name}])
    _copy(conn, [name])


def remove_host(conn: Connection, of: Aggregate, name: str) -> None:
    """Both are held."""
    here = (aggregate_host.c.aggregate_id == of.id, aggregate_host.c.host == name)
    conn.execute(delete(aggregate_host).where(*here))
    _copy(conn, [name])


def forget_host(conn: Connection, name: str) -> None:
    """A host that is forgotten is in no aggregate."""
    conn.execute(delete(aggregate_host).where(aggregate_host.c.host == name))


def remove(conn: Connection, it: Aggregate) -> None:
    """One that is held and has no hosts."""
    conn.execute(delete(aggregate).where(aggregate.c.id == it.id))


def _copy(conn: Connection, names: Iterable[str]) -> None:
    """Write what hosts that are held are in where the scheduler reads it."""
    of: dict[str, list[HostAggregate]] = {name: [] for name in sorted(names)}
    for row in conn.execute(_MEMBERSHIPS, {"hosts": listed(of)}):
        metadata = codec.from_json(row.metadata, dict[str, str], what="aggregate")
        of[row.host].append(HostAggregate(name=row.name, availability_zone=row.availability_zone, metadata=metadata))
    if of:
        here = host_capacity.c.host == bindparam("of_host")
        values = {"aggregates": bindparam("to_aggregates"), "change": change_stamp(conn)}
        conn.execute(
            update(host_capacity).where(here).values(**values),
            [{"of_host": name, "to_aggregates": codec.to_json(all_of)} for name, all_of in of.items()],
        )


_MEMBERSHIPS = (
    select(aggregate_host.c.host, aggregate)
    .join(aggregate, aggregate.c.id == aggregate_host.c.aggregate_id)
    .where(among(aggregate_host.c.host, bindparam("hosts")))
    .order_by(aggregate_host.c.host, aggregate.c.name)
)

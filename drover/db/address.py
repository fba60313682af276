"""Addresses: every port holds one offset of one network, fleet-wide.

A port is released only by whoever removes the placement it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from drover import errors
from drover.db.bulk import among, insert_rows, listed
from drover.db.schema import network, port
from drover.objects.address import ip_of, mac_of, offset_of, pick
from drover.objects.catalog import Port

__all__ = ["free_count", "ports_of", "release", "reserve"]

#: offsets looked at beyond the wanted ones before the whole pool is read
_NEAR = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Where addresses are taken from; *start* is where the search begins."""

    network_id: str
    first: int
    last: int
    start: int


def reserve(
    conn: Connection, network_id: str, wanted: Sequence[tuple[str, int]], make_id: Callable[[], str]
) -> list[Port]:
    """One new port for each ``(instance_uuid, position)`` of *wanted*, in that order; all or none.

    The network's row is locked until the transaction ends: take several networks in order of id.

    :raises errors.NoAddresses: the pool has fewer free ones; nothing was taken.
    :raises errors.NetworkNotFound: somebody deleted the network just now.
    """
    count = len(wanted)
    row = _lock(conn, network_id, count)
    pool = _pool(row, start=row.cursor - count)
    offsets = _pick(conn, pool, count)
    if len(offsets) < count:
        raise errors.NoAddresses(network=row.name, free=free_count(conn, network_id), wanted=count)
    if not offsets:
        return []
    if offsets[-1] + 1 != row.cursor:  # not the run that _lock has guessed
        conn.execute(update(network).where(network.c.id == network_id).values(cursor=offsets[-1] + 1))
    ports = [
        Port(
            id=make_id(),
            instance_uuid=instance_uuid,
            network_id=network_id,
            network_name=row.name,
            mac=mac_of(row.mac_index, offset),
            ip=ip_of(row.cidr, offset),
            position=position,
        )
        for (instance_uuid, position), offset in zip(wanted, offsets, strict=True)
    ]
    insert_rows(conn, port, [_row(new, offset) for new, offset in zip(ports, offsets, strict=True)])
    return ports


def release(conn: Connection, instance_uuids: Collection[str]) -> int:
    """Remove all ports of these instances; returns how many there were."""
    if not instance_uuids:
        return 0
    return conn.execute(_RELEASE, {"uuids": listed(instance_uuids)}).rowcount


_RELEASE = delete(port).where(among(port.c.instance_uuid, bindparam("uuids")))


def ports_of(conn: Connection, instance_uuids: Collection[str]) -> dict[str, tuple[Port, ...]]:
    """Ports by instance, in order of position; instances without ports have no entry."""
    if not instance_uuids:
        return {}
    found: dict[str, list[Port]] = {}
    for row in conn.execute(_PORTS_OF, {"uuids": listed(instance_uuids)}):
        found.setdefault(row.instance_uuid, []).append(_port(row))
    return {uuid: tuple(ports) for uuid, ports in found.items()}


_PORTS_OF = (
    select(port, network.c.name.label("network_name"))
    .join(network, network.c.id == port.c.network_id)
    .where(among(port.c.instance_uuid, bindparam("uuids")))
    .order_by(port.c.instance_uuid, port.c.position, port.c.id)
)


def free_count(conn: Connection, network_id: str) -> int:
    """How many more ports the pool has room for.

    :raises errors.NetworkNotFound: no such network.
    """
    row = conn.execute(_USED, {"network": network_id}).first()
    if row is None:
        raise errors.NetworkNotFound(ref=network_id)
    return offset_of(row.cidr, row.last) - offset_of(row.cidr, row.first) + 1 - int(row.used)


_USED = select(
    network.c.cidr,
    network.c.first,
    network.c.last,
    select(func.count()).where(port.c.network_id == network.c.id).correlate(network).scalar_subquery().label("used"),
).where(network.c.id == bindparam("network"))


def _lock(conn: Connection, network_id: str, count: int) -> Row[Any]:
    """Lock the network by writing to it, and move its cursor over the run that is most likely free.

    A lock taken by SELECT would let the next statement see too little on stricter isolation levels (measured).
    """
    row = conn.execute(_LOCK, {"network": network_id, "count": count}).first()
    if row is None:
        raise errors.NetworkNotFound(ref=network_id)
    return row


_LOCK = (
    update(network)
    .where(network.c.id == bindparam("network"))
    .values(generation=network.c.generation + 1, cursor=network.c.cursor + bindparam("count"))
    .returning(network)
)


def _pool(row: Row[Any], *, start: int) -> _Pool:
    first, last = offset_of(row.cidr, row.first), offset_of(row.cidr, row.last)
    return _Pool(network_id=row.id, first=first, last=last, start=start if first <= start <= last else first)


def _pick(conn: Connection, pool: _Pool, count: int) -> list[int]:
    """Up to *count* free offsets: from those just after the cursor, else from the whole pool."""
    near = min(pool.last, pool.start + count + _NEAR)
    found = pick(pool.start, near, pool.start, _taken(conn, pool, pool.start, near), count)
    if len(found) < count:
        found = pick(pool.first, pool.last, pool.start, _taken(conn, pool, pool.first, pool.last), count)
    return found


def _taken(conn: Connection, pool: _Pool, low: int, high: int) -> set[int]:
    return set(conn.execute(_TAKEN, {"network": pool.network_id, "low": low, "high": high}).scalars())


_TAKEN = select(port.c.offset).where(
    port.c.network_id == bindparam("network"), port.c.offset.between(bindparam("low"), bindparam("high"))
)


def _row(new: Port, offset: int) -> dict[str, object]:
    return {
        "id": new.id,
        "instance_uuid": new.instance_uuid,
        "network_id": new.network_id,
        "offset": offset,
        "mac": new.mac,
        "ip": new.ip,
        "position": new.position,
    }


def _port(row: Row[Any]) -> Port:
    return Port(
        id=row.id,
        instance_uuid=row.instance_uuid,
        network_id=row.network_id,
        network_name=row.network_name,
        mac=row.mac,
        ip=row.ip,
        position=row.position,
    )

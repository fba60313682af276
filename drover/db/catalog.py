"""Flavors, keypairs and networks: rows in, values out. References are ids or, failing that, names (unique)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, func, insert, or_, select

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db.page import paged
from drover.db.schema import flavor, keypair, network, port
from drover.objects import codec
from drover.objects.address import LAST_INDEX, offset_of
from drover.objects.catalog import Flavor, Keypair, Network, NetworkKind
from drover.objects.page import EVERY, ListFilter

__all__ = [
    "delete_flavor",
    "delete_keypair",
    "delete_network",
    "free_mac_index",
    "get_flavor",
    "get_keypair",
    "get_network",
    "list_flavors",
    "list_keypairs",
    "list_networks",
    "put_flavor",
    "put_keypair",
    "put_network",
    "to_flavor",
]


# --- flavors -----------------------------------------------------------------------------------------------


def put_flavor(conn: Connection, new: Flavor) -> None:
    """Insert *new* (``created_at`` set).

    :raises errors.NameTaken: a flavor has its name or id; the transaction must end.
    """
    row = {
        "id": new.id,
        "name": new.name,
        "vcpus": new.vcpus,
        "memory_mib": new.memory_mib,
        "disk_gib": new.disk_gib,
        "extra_specs": codec.to_json(new.extra_specs),
        "created_at": _created(new),
    }
    _put(conn, flavor, row, "flavor")


def get_flavor(conn: Connection, ref: str) -> Flavor:
    """:raises errors.FlavorNotFound: no flavor has this id or name."""
    row = _find(conn, flavor, ref)
    if row is None:
        raise errors.FlavorNotFound(ref=ref)
    return to_flavor(row)


def list_flavors(conn: Connection, only: ListFilter = EVERY) -> tuple[Flavor, ...]:
    """By name."""
    return tuple(to_flavor(row) for row in conn.execute(paged(select(flavor), flavor.c.name, only)))


def delete_flavor(conn: Connection, ref: str) -> Flavor:
    """Instances keep a copy of their flavor, so any may go.

    :raises errors.FlavorNotFound: none, or somebody deleted it just now.
    """
    found = get_flavor(conn, ref)
    if conn.execute(delete(flavor).where(flavor.c.id == found.id)).rowcount != 1:
        raise errors.FlavorNotFound(ref=ref)
    return found


def to_flavor(row: Row[Any]) -> Flavor:
    """A row with the columns of :data:`drover.db.schema.flavor`."""
    return Flavor(
        id=row.id,
        name=row.name,
        vcpus=row.vcpus,
        memory_mib=row.memory_mib,
        disk_gib=row.disk_gib,
        extra_specs=codec.from_json(row.extra_specs, dict[str, str], what="flavor"),
        created_at=from_iso(row.created_at),
    )


# --- keypairs ----------------------------------------------------------------------------------------------


def put_keypair(conn: Connection, new: Keypair) -> None:
    """Insert *new* (``created_at`` set).

    :raises errors.NameTaken: the project has a keypair of this name; the transaction must end.
    """
    row = {
        "project_id": new.project_id,
        "name": new.name,
        "public_key": new.public_key,
        "fingerprint": new.fingerprint,
        "created_at": _created(new),
    }
    _put(conn, keypair, row, "keypair")


def get_keypair(conn: Connection, project_id: str, name: str) -> Keypair:
    """:raises errors.KeypairNotFound: the project has none of this name."""
    mine = (keypair.c.project_id == project_id) & (keypair.c.name == name)
    row = conn.execute(select(keypair).where(mine)).first()
    if row is None:
        raise errors.KeypairNotFound(ref=name)
    return _keypair(row)


def list_keypairs(conn: Connection, project_id: str, only: ListFilter = EVERY) -> tuple[Keypair, ...]:
    """Of the project, by name."""
    mine = select(keypair).where(keypair.c.project_id == project_id)
    return tuple(_keypair(row) for row in conn.execute(paged(mine, keypair.c.name, only)))


def delete_keypair(conn: Connection, project_id: str, name: str) -> Keypair:
    """Instances keep the key that was given to them.

    :raises errors.KeypairNotFound: none, or somebody deleted it just now.
    """
    found = get_keypair(conn, project_id, name)
    mine = (keypair.c.project_id == project_id) & (keypair.c.name == name)
    if conn.execute(delete(keypair).where(mine)).rowcount != 1:
        raise errors.KeypairNotFound(ref=name)
    return found


def _keypair(row: Row[Any]) -> Keypair:
    return Keypair(
        name=row.name,
        public_key=row.public_key,
        fingerprint=row.fingerprint,
        project_id=row.project_id,
        created_at=from_iso(row.created_at),
    )


# --- networks ----------------------------------------------------------------------------------------------


def put_network(conn: Connection, new: Network) -> None:
    """Insert *new*, complete (``first``, ``last``, ``mac_index`` and ``created_at`` set).

    :raises errors.NameTaken: a network has its name or id; the transaction must end.
    :raises errors.StoreBusy: its MAC index was given to another just now; the transaction must end.
    """
    row = {
        "id": new.id,
        "name": new.name,
        "kind": new.kind.value,
        "cidr": new.cidr,
        "gateway": new.gateway,
        "bridge": new.bridge,
        "first": new.first,
        "last": new.last,
        "dns": codec.to_json(new.dns),
        "mtu": new.mtu,
        "mac_index": new.mac_index,
        "cursor": offset_of(new.cidr, new.first),
        "generation": 0,
        "created_at": _created(new),
    }
    try:
        _put(conn, network, row, "network")
    except errors.StoreConflict as exc:
        raise errors.StoreBusy(detail=exc.message) from exc


def free_mac_index(conn: Connection) -> int:
    """The lowest MAC index that no network has.

    :raises errors.Conflict: all are taken.
    """
    taken = set(conn.execute(select(network.c.mac_index)).scalars())
    for index in range(1, LAST_INDEX + 1):
        if index not in taken:
            return index
    raise errors.Conflict(reason=f"there are {LAST_INDEX} networks already")


def get_network(conn: Connection, ref: str) -> Network:
    """:raises errors.NetworkNotFound: no network has this id or name."""
    row = _find(conn, network, ref)
    if row is None:
        raise errors.NetworkNotFound(ref=ref)
    return _network(row)


def list_networks(conn: Connection, only: ListFilter = EVERY) -> tuple[Network, ...]:
    """By name."""
    return tuple(_network(row) for row in conn.execute(paged(select(network), network.c.name, only)))


def delete_network(conn: Connection, ref: str) -> Network:
    """Only one without ports.

    :raises errors.NetworkNotFound: none, or somebody deleted it just now.
    :raises errors.InUse: it has ports; the transaction must end.
    """
    found = get_network(conn, ref)
    users = conn.execute(select(func.count()).where(port.c.network_id == found.id)).scalar_one()
    if users:
        raise errors.InUse(what="network", ref=ref, users="1 port" if users == 1 else f"{users} ports")
    try:
        gone = conn.execute(delete(network).where(network.c.id == found.id)).rowcount
    except errors.StoreConflict:  # the foreign key of a port that came after the count
        raise errors.InUse(what="network", ref=ref, users="a new port") from None
    if gone != 1:
        raise errors.NetworkNotFound(ref=ref)
    return found


def _network(row: Row[Any]) -> Network:
    return Network(
        id=row.id,
        name=row.name,
        kind=NetworkKind(row.kind),
        cidr=row.cidr,
        gateway=row.gateway,
        bridge=row.bridge,
        first=row.first,
        last=row.last,
        dns=codec.from_json(row.dns, tuple[str, ...], what="network"),
        mtu=row.mtu,
        mac_index=row.mac_index,
        created_at=from_iso(row.created_at),
    )


# --- all of them -------------------------------------------------------------------------------------------


def _find(conn: Connection, table: Table, ref: str) -> Row[Any] | None:
    """The row with this id, else the one with this name."""
    rows = conn.execute(_FIND[table.name], {"ref": ref}).all()
    return min(rows, key=lambda row: row.id != ref, default=None)


_FIND = {
    table.name: select(table).where(or_(table.c.id == bindparam("ref"), table.c.name == bindparam("ref")))
    for table in (flavor, network)
}


def _put(conn: Connection, table: Table, row: Mapping[str, Any], what: str) -> None:
    taken = {f"uq_{table.name}_name": row["name"], f"pk_{table.name}": row.get("id", row["name"])}
    try:
        conn.execute(insert(table), row)
    except errors.StoreConflict as exc:
        constraint = exc.kwargs["constraint"]
        if constraint in taken:
            raise errors.NameTaken(what=what, name=taken[constraint]) from exc
        raise


def _created(value: Flavor | Keypair | Network) -> str:
    assert value.created_at is not None, "whoever creates it says when"
    return to_iso(value.created_at)

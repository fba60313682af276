"""Everything a host needs to make guests, gathered for many instances with one query a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from drover.db import image
from drover.db import instance as instances
from drover.db.bulk import among, listed
from drover.db.schema import instance, instance_secret, network, port
from drover.objects import codec
from drover.objects.address import prefix_len_of
from drover.objects.catalog import Image
from drover.objects.guest import GuestPort
from drover.objects.instance import Instance

__all__ = ["Parts", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one guest is made of. A shelved one's image is its own disk."""

    instance: Instance
    image: Image
    ports: tuple[GuestPort, ...]
    secret: instances.Secret


def gather(conn: Connection, uuids: Iterable[str]) -> dict[str, Parts]:
    """Parts by instance uuid; an instance whose records are gone is absent."""
    wanted = set(uuids)
    if not wanted:
        return {}
    found: dict[str, Instance] = {}
    secrets: dict[str, instances.Secret] = {}
    for row in conn.execute(_INSTANCES, {"uuids": listed(wanted)}):
        found[row.uuid] = instances.to_value(row)
        if row.ssh_keys is not None:
            secrets[row.uuid] = instances.to_secret(row)
    # Deleted ones too: instances outlive them.
    images = image.get_many(conn, {_image_id(i) for i in found.values()})
    ports = _ports(conn, found)
    nothing = instances.Secret()
    return {
        uuid: Parts(
            instance=i,
            image=images[_image_id(i)],
            ports=tuple(ports.get(uuid, ())),
            secret=secrets.get(uuid, nothing),
        )
        for uuid, i in found.items()
        if _image_id(i) in images
    }


def _image_id(i: Instance) -> str:
    return i.shelved_image_id or i.image_id


def _ports(conn: Connection, uuids: Iterable[str]) -> dict[str, list[GuestPort]]:
    found: dict[str, list[GuestPort]] = {}
    for row in conn.execute(_PORTS, {"uuids": listed(uuids)}):
        found.setdefault(row.instance_uuid, []).append(
            GuestPort(
                mac=row.mac,
                ip=row.ip,
                prefix_len=prefix_len_of(row.cidr),
                gateway=row.gateway,
                dns=tuple(codec.from_json(row.dns, list[str])),
                mtu=row.mtu,
                network_id=row.id,
                network_name=row.name,
                kind=row.kind,
                bridge=row.bridge,
                cidr=row.cidr,
                mac_index=row.mac_index,
                first=row.first,
                last=row.last,
            )
        )
    return found


_INSTANCES = (
    select(instance, instance_secret.c.user_data, instance_secret.c.ssh_keys)
    .outerjoin(instance_secret, instance_secret.c.instance_uuid == instance.c.uuid)
    .where(among(instance.c.uuid, bindparam("uuids")))
)
_N = network.c
_PORTS = (
    select(
        port.c.instance_uuid,
        port.c.mac,
        port.c.ip,
        *(
            _N[name]
            for name in ("id", "name", "kind", "cidr", "gateway", "bridge", "first", "last", "dns", "mtu", "mac_index")
        ),
    )
    .join(network, _N.id == port.c.network_id)
    .where(among(port.c.instance_uuid, bindparam("uuids")))
    .order_by(port.c.instance_uuid, port.c.position)
)

"""What an audit reads of hardware: each host's offer, and everything that placements hold of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from drover.db.bulk import among, listed
from drover.db.schema import allocation, host_capacity, instance
from drover.objects import codec
from drover.objects.hardware import Hardware, HardwareClaim

__all__ = ["HardwareHeld", "read_held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareHeld:
    """*held* by the names of the instances, or their uuids where there is no record."""

    host: str
    offer: Hardware
    held: tuple[tuple[str, HardwareClaim], ...]


def read_held(conn: Connection) -> list[HardwareHeld]:
    """Hosts of which something is held, by name."""
    held: dict[str, list[tuple[str, HardwareClaim]]] = defaultdict(list)
    for host, name, claim in conn.execute(_HELD):
        held[host].append((name, codec.from_json(claim, HardwareClaim)))
    offers = {row.host: row.hardware for row in conn.execute(_OFFERS, {"hosts": listed(held)})}
    return [
        HardwareHeld(
            host=host,
            offer=codec.from_json(offers[host], Hardware) if offers.get(host) else Hardware(),
            held=tuple(claims),
        )
        for host, claims in sorted(held.items())
    ]


_A, _H = allocation.c, host_capacity.c
_NAME = func.coalesce(instance.c.name, _A.instance_uuid)
_HELD = (
    select(_A.host, _NAME, _A.hardware)
    .outerjoin(instance, instance.c.uuid == _A.instance_uuid)
    .where(_A.hardware != "")
    .order_by(_A.host, _NAME, _A.instance_uuid, _A.epoch)
)
_OFFERS = select(_H.host, _H.hardware).where(among(_H.host, bindparam("hosts")))

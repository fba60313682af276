"""Placements: rows of ``allocation`` as the conductor moves them. Claims are made by :mod:`drover.db.claim`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, Text, bindparam, cast, select, update

from drover.db.bulk import among, listed
from drover.db.schema import allocation
from drover.objects import codec
from drover.objects.hardware import HardwareClaim
from drover.objects.host import Resources
from drover.objects.placement import Placement
from drover.states import PlacementState

__all__ = ["find_of_instances", "leaving_of_hosts", "move", "of_hosts"]


def _value(row: Row[Any]) -> Placement:
    return Placement(
        instance_uuid=row.instance_uuid,
        host=row.host,
        epoch=row.epoch,
        state=PlacementState(row.state),
        operation_id=row.operation_id,
        resources=Resources(vcpus=row.vcpus, memory_mib=row.memory_mib, disk_gib=row.disk_gib),
        hardware=codec.from_json(row.hardware, HardwareClaim) if row.hardware else _NONE,
    )


_NONE = HardwareClaim()


def find_of_instances(conn: Connection, uuids: Iterable[str], *, lock: bool = False) -> dict[str, list[Placement]]:
    """All placements by instance uuid, lowest epoch first; instances without any are absent."""
    wanted = set(uuids)
    if not wanted:
        return {}
    query = _OF_INSTANCES_LOCKED if lock else _OF_INSTANCES
    found: dict[str, list[Placement]] = {}
    for row in conn.execute(query, {"uuids": listed(wanted)}):
        found.setdefault(row.instance_uuid, []).append(_value(row))
    return found


_OF_INSTANCES = (
    select(allocation)
    .where(among(allocation.c.instance_uuid, bindparam("uuids")))
    .order_by(allocation.c.instance_uuid, allocation.c.epoch, allocation.c.host)
)
_OF_INSTANCES_LOCKED = _OF_INSTANCES.with_for_update()


def leaving_of_hosts(conn: Connection, hosts: Iterable[str]) -> list[Placement]:
    """What these hosts must clean up."""
    return [_value(row) for row in conn.execute(_LEAVING_OF_HOSTS, {"hosts": listed(hosts)})]


_OF_HOSTS = (
    select(allocation)
    .where(among(allocation.c.host, bindparam("hosts")))
    .order_by(allocation.c.instance_uuid, allocation.c.epoch)
)
_LEAVING_OF_HOSTS = _OF_HOSTS.where(allocation.c.state == PlacementState.LEAVING.value)


def of_hosts(conn: Connection, hosts: Iterable[str]) -> list[Placement]:
    """Everything these hosts hold or may hold."""
    return [_value(row) for row in conn.execute(_OF_HOSTS, {"hosts": listed(hosts)})]


def move(
    conn: Connection, keys: Iterable[tuple[str, str, int]], to: PlacementState, *, of: Iterable[PlacementState]
) -> set[tuple[str, str, int]]:
    """Placements (instance, host, epoch) in one of the states *of* → *to*; answers those that are in *to* now by this call."""
    wanted = set(keys)
    if not wanted:
        return set()
    values = {
        "uuids": listed(uuid for uuid, _, _ in wanted),
        "keys": listed(f"{uuid} {epoch} {host}" for uuid, host, epoch in wanted),
        "of_states": listed(of),
        "to": to.value,
    }
    return {(row.instance_uuid, row.host, row.epoch) for row in conn.execute(_MOVE, values)}


_A = allocation.c
_MOVE = (
    update(allocation)
    .where(
        among(_A.instance_uuid, bindparam("uuids")),  # so that an index finds them
        among(_A.instance_uuid + " " + cast(_A.epoch, Text) + " " + _A.host, bindparam("keys")),
        among(_A.state, bindparam("of_states")),
    )
    .values(state=bindparam("to"))
    .returning(_A.instance_uuid, _A.host, _A.epoch)
)

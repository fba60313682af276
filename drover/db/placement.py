"""Placements: rows of ``allocation`` as the conductor moves them. Claims are made by :mod:`drover.db.claim`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_, update

from drover.db.schema import allocation
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
    )


def find_of_instances(conn: Connection, uuids: Iterable[str], *, lock: bool = False) -> dict[str, list[Placement]]:
    """All placements by instance uuid, lowest epoch first; instances without any are absent."""
    wanted = sorted(set(uuids))
    if not wanted:
        return {}
    query = (
        select(allocation)
        .where(allocation.c.instance_uuid.in_(wanted))
        .order_by(allocation.c.instance_uuid, allocation.c.epoch, allocation.c.host)
    )
    if lock:
        query = query.with_for_update()
    found: dict[str, list[Placement]] = {}
    for row in conn.execute(query):
        found.setdefault(row.instance_uuid, []).append(_value(row))
    return found


def leaving_of_hosts(conn: Connection, hosts: Iterable[str]) -> list[Placement]:
    """What these hosts must clean up."""
    query = (
        select(allocation)
        .where(allocation.c.host.in_(sorted(set(hosts))), allocation.c.state == PlacementState.LEAVING.value)
        .order_by(allocation.c.instance_uuid, allocation.c.epoch)
    )
    return [_value(row) for row in conn.execute(query)]


def of_hosts(conn: Connection, hosts: Iterable[str]) -> list[Placement]:
    """Everything these hosts hold or may hold."""
    query = (
        select(allocation)
        .where(allocation.c.host.in_(sorted(set(hosts))))
        .order_by(allocation.c.instance_uuid, allocation.c.epoch)
    )
    return [_value(row) for row in conn.execute(query)]


def move(
    conn: Connection, keys: Iterable[tuple[str, str, int]], to: PlacementState, *, of: Iterable[PlacementState]
) -> set[tuple[str, str, int]]:
    """Placements (instance, host, epoch) in one of the states *of* → *to*; answers those that are in *to* now by this call."""
    wanted = sorted(set(keys))
    if not wanted:
        return set()
    a = allocation.c
    rows = conn.execute(
        update(allocation)
        .where(tuple_(a.instance_uuid, a.host, a.epoch).in_(wanted), a.state.in_(sorted(s.value for s in of)))
        .values(state=to.value)
        .returning(a.instance_uuid, a.host, a.epoch)
    )
    return {(row.instance_uuid, row.host, row.epoch) for row in rows}

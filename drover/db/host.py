"""Hosts: identity, sessions, liveness and usage. Capacity stands apart, so that syncs never touch the claim row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db import aggregate, quarantine
from drover.db.bulk import among, listed
from drover.db.host_table import change_stamp
from drover.db.orphan import orphans_of
from drover.db.page import paged
from drover.db.schema import allocation, forgotten_host, host, host_capacity, orphan
from drover.objects import codec
from drover.objects.group import HostAggregate
from drover.objects.hardware import Hardware
from drover.objects.host import Fence, Host, HostUsage, Inventory, Registration, Resources
from drover.objects.page import EVERY_HOST, HostFilter, HostState
from drover.objects.sync import SyncRequest

__all__ = [
    "Pulse",
    "adopt",
    "fence",
    "fence_error",
    "forget",
    "get",
    "hold",
    "list_all",
    "pulses",
    "register",
    "sessions",
    "set_draining",
    "set_enabled",
    "set_up",
    "touch",
]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a conductor needs to judge whether a host is silent."""

    host: str
    session: int
    seq: int
    up: bool
    last_sync_at: datetime | None
    fence: Fence | None = None


def register(conn: Connection, registration: Registration, now: datetime) -> int:
    """Open the next session of a host, new or known; answers its number.

    A message of the agent that has the session already (a repeat) opens none; one of an earlier agent, late on its
    way, is refused, so that it cannot end the session of the living.

    :raises errors.StaleSession: from an earlier agent. :raises errors.HostFenced: and no adoption was ordered.
    :raises errors.HostNameTaken: another machine (host uuid or machine id) has the name and no adoption was ordered.
    """
    who = registration.identity
    row = conn.execute(select(host).where(host.c.name == who.host).with_for_update()).first()
    values: dict[str, Any] = {
        "host_uuid": who.host_uuid,
        "machine_id": who.machine_id,
        "boot_id": who.boot_id,
        "seq": 0,
        "incarnation": registration.incarnation,
        "adopt": 0,
        "address": registration.address,
        "version": registration.version,
        "inventory": codec.to_json(registration.inventory),
        "registered_at": to_iso(now),
        "last_sync_at": to_iso(now),
    }
    if row is None:
        session = _first_session(conn, who.host)
        conn.execute(
            insert(host).values(name=who.host, session=session, usage="", foreign_domains="[]", fence="", **values)
        )
        _insert_capacity(conn, who.host, registration.inventory)
        return session
    if not row.adopt:
        if row.fence:
            raise fence_error(who.host, codec.from_json(row.fence, Fence))
        if (row.host_uuid, row.machine_id) != (who.host_uuid, who.machine_id):
            raise errors.HostNameTaken(host=who.host, known=row.host_uuid, claimed=who.host_uuid)
        if registration.incarnation < row.incarnation:
            raise errors.StaleSession(session=registration.incarnation, host=who.host, current=row.session)
        if 0 < registration.incarnation == row.incarnation:
            return int(row.session)
    session = int(row.session) + 1
    conn.execute(update(host).where(host.c.name == who.host).values(session=session, **values))
    set_inventory(conn, who.host, registration.inventory, up=True)
    return session


def _first_session(conn: Connection, name: str) -> int:
    """Never one that an agent of a forgotten host of this name may still hold."""
    last = conn.execute(select(forgotten_host.c.session).where(forgotten_host.c.name == name)).scalar()
    return int(last or 0) + 1


def _capacity_values(inventory: Inventory) -> dict[str, Any]:
    capacity = inventory.capacity()
    return {
        "total_vcpus": capacity.vcpus,
        "total_memory_mib": capacity.memory_mib,
        "total_disk_gib": capacity.disk_gib,
        "architecture": inventory.architecture,
        "virt_types": codec.to_json(inventory.virt_types),
        "traits": codec.to_json(inventory.traits),
        "hardware": codec.to_json(inventory.hardware) if inventory.hardware != Hardware() else "",
    }


def _insert_capacity(conn: Connection, name: str, inventory: Inventory) -> None:
    conn.execute(
        insert(host_capacity).values(
            host=name,
            enabled=1,
            disabled_reason="",
            up=1,
            used_vcpus=0,
            used_memory_mib=0,
            used_disk_gib=0,
            draining=0,
            quarantine="",
            probation="",
            failures=0,
            aggregates="[]",
            change=change_stamp(conn),
            **_capacity_values(inventory),
        )
    )


def set_inventory(conn: Connection, name: str, inventory: Inventory, *, up: bool) -> None:
    """New totals; what is used stays, also when it is more than there is now."""
    conn.execute(
        update(host_capacity)
        .where(host_capacity.c.host == name)
        .values(up=int(up), change=change_stamp(conn), **_capacity_values(inventory))
    )


def sessions(conn: Connection, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(session, last seq written) by host."""
    rows = conn.execute(_SESSIONS, {"names": listed(names)})
    return {row.name: (int(row.session), int(row.seq)) for row in rows}


_SESSIONS = select(host.c.name, host.c.session, host.c.seq).where(among(host.c.name, bindparam("names")))


def touch(conn: Connection, request: SyncRequest, now: datetime) -> None:
    """Note that a host spoke, with what it reported of itself."""
    values: dict[str, Any] = {}
    if request.usage is not None:
        values["usage"] = codec.to_json(request.usage)
    if request.foreign is not None:
        values["foreign_domains"] = codec.to_json(request.foreign)
    if request.inventory is not None:
        values["inventory"] = codec.to_json(request.inventory)
        set_inventory(conn, request.host, request.inventory, up=True)
    who = {"of_host": request.host, "of_session": request.session, "at_seq": request.seq, "at": to_iso(now)}
    conn.execute(_TOUCH.values(**values) if values else _TOUCH, who)


_TOUCH = (
    update(host)
    .where(
        host.c.name == bindparam("of_host"),
        host.c.session == bindparam("of_session"),
        host.c.seq < bindparam("at_seq"),
    )
    .values(seq=bindparam("at_seq"), last_sync_at=bindparam("at"))
)


def pulses(conn: Connection) -> list[Pulse]:
    """All hosts, by name."""
    query = (
        select(host.c.name, host.c.session, host.c.seq, host.c.last_sync_at, host.c.fence, host_capacity.c.up)
        .join(host_capacity, host_capacity.c.host == host.c.name)
        .order_by(host.c.name)
    )
    return [
        Pulse(
            host=row.name,
            session=int(row.session),
            seq=int(row.seq),
            up=bool(row.up),
            last_sync_at=from_iso(row.last_sync_at) if row.last_sync_at else None,
            fence=codec.from_json(row.fence, Fence) if row.fence else None,
        )
        for row in conn.execute(query)
    ]


def set_up(conn: Connection, names: Iterable[str], *, up: bool) -> list[str]:
    """The conductor's judgement, which the scheduler reads; the hosts that it changes. What is fenced stays down."""
    wanted = sorted(set(names))
    if not wanted:
        return []
    judged = select(host.c.name).where(host.c.name.in_(wanted), host.c.fence == "")
    changed = conn.execute(
        update(host_capacity)
        .where(host_capacity.c.host.in_(judged), host_capacity.c.up == int(not up))
        .values(up=int(up), change=change_stamp(conn))
        .returning(host_capacity.c.host)
    )
    return sorted(changed.scalars())


def set_enabled(conn: Connection, name: str, *, enabled: bool, reason: str) -> None:
    conn.execute(
        update(host_capacity)
        .where(host_capacity.c.host == name)
        .values(enabled=int(enabled), disabled_reason="" if enabled else reason, change=change_stamp(conn))
    )


def set_draining(conn: Connection, name: str, *, draining: bool) -> None:
    conn.execute(
        update(host_capacity)
        .where(host_capacity.c.host == name)
        .values(draining=int(draining), change=change_stamp(conn))
    )


def adopt(conn: Connection, name: str) -> None:
    """The next registration under this name may come from another machine; a fence is lifted."""
    conn.execute(update(host).where(host.c.name == name).values(adopt=1, fence=""))


def fence(conn: Connection, name: str, word: Fence) -> None:
    """Keep an operator's word that the machine is off. Its session is over, and it takes no guests.

    A fence that stands stays as it is.
    """
    h = host.c
    values = {"fence": codec.to_json(word), "adopt": 0, "session": h.session + 1, "seq": 0}
    conn.execute(update(host).where(h.name == name, h.fence == "").values(**values))
    conn.execute(
        update(host_capacity)
        .where(host_capacity.c.host == name, host_capacity.c.up == 1)
        .values(up=0, change=change_stamp(conn))
    )


def fence_error(name: str, word: Fence) -> errors.HostFenced:
    """The refusal of a fenced host, and the fault of what was on it."""
    return errors.HostFenced(host=name, by=word.by, at=to_iso(word.at), reason=word.reason)


def hold(conn: Connection, name: str) -> None:
    """Keep claims away from a host until the transaction ends."""
    conn.execute(select(host_capacity.c.host).where(host_capacity.c.host == name).with_for_update())


def forget(conn: Connection, name: str, now: datetime) -> None:
    """Remove a host that has no placements; a machine that registers by this name is a new host."""
    session = conn.execute(delete(host).where(host.c.name == name).returning(host.c.session)).scalar()
    if session is None:
        return
    conn.execute(delete(host_capacity).where(host_capacity.c.host == name))
    conn.execute(delete(orphan).where(orphan.c.host == name))
    aggregate.forget_host(conn, name)
    quarantine.forget(conn, name)
    conn.execute(delete(forgotten_host).where(forgotten_host.c.name == name))
    conn.execute(insert(forgotten_host).values(name=name, session=session, at=to_iso(now)))


def _query() -> Any:
    count = (
        select(func.count())
        .select_from(allocation)
        .where(allocation.c.host == host.c.name)
        .scalar_subquery()
        .label("instances")
    )
    capacity = [column for column in host_capacity.c if column.name != "host"]
    return select(host, *capacity, count).join(host_capacity, host_capacity.c.host == host.c.name)


def _value(row: Row[Any], orphans: tuple[str, ...]) -> Host:
    aggregates = codec.from_json(row.aggregates, tuple[HostAggregate, ...])
    return Host(
        name=row.name,
        host_uuid=row.host_uuid,
        machine_id=row.machine_id,
        boot_id=row.boot_id,
        session=row.session,
        address=row.address,
        version=row.version,
        enabled=bool(row.enabled),
        disabled_reason=row.disabled_reason,
        up=bool(row.up),
        inventory=codec.from_json(row.inventory, Inventory),
        capacity=Resources(vcpus=row.total_vcpus, memory_mib=row.total_memory_mib, disk_gib=row.total_disk_gib),
        used=Resources(vcpus=row.used_vcpus, memory_mib=row.used_memory_mib, disk_gib=row.used_disk_gib),
        usage=codec.from_json(row.usage, HostUsage) if row.usage else None,
        instances=row.instances,
        last_sync_at=from_iso(row.last_sync_at) if row.last_sync_at else None,
        registered_at=from_iso(row.registered_at),
        fence=codec.from_json(row.fence, Fence) if row.fence else None,
        draining=bool(row.draining),
        quarantine=row.quarantine,
        failures=row.failures,
        aggregates=tuple(each.name for each in aggregates),
        availability_zone=next((each.availability_zone for each in aggregates if each.availability_zone), ""),
        foreign_domains=tuple(codec.from_json(row.foreign_domains, list[str])),
        orphan_domains=orphans,
    )


def get(conn: Connection, name: str) -> Host:
    """:raises errors.HostNotFound: no such host."""
    row = conn.execute(_query().where(host.c.name == name)).first()
    if row is None:
        raise errors.HostNotFound(ref=name)
    return _value(row, orphans_of(conn).get(name, ()))


def list_all(conn: Connection, only: HostFilter = EVERY_HOST) -> list[Host]:
    """By name."""
    query = paged(_query(), host.c.name, only)
    if only.state is not None:
        query = query.where(_IN_STATE[only.state])
    if only.aggregate:
        query = query.where(host.c.name.in_(aggregate.hosts_of(name=only.aggregate)))
    if only.availability_zone:
        query = query.where(host.c.name.in_(aggregate.hosts_of(availability_zone=only.availability_zone)))
    orphans = orphans_of(conn)
    return [_value(row, orphans.get(row.name, ())) for row in conn.execute(query)]


_IN_STATE = {
    HostState.UP: host_capacity.c.up == 1,
    HostState.DOWN: (host_capacity.c.up == 0) & (host.c.fence == ""),
    HostState.FENCED: host.c.fence != "",
    HostState.DISABLED: host_capacity.c.enabled == 0,
    HostState.DRAINING: host_capacity.c.draining == 1,
    HostState.QUARANTINE: host_capacity.c.quarantine != "",
}

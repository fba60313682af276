"""Instances: rows in, values out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db.bulk import among, insert_rows, listed
from drover.db.page import begins
from drover.db.schema import allocation, host, instance, instance_secret, port
from drover.objects import codec
from drover.objects.catalog import Flavor
from drover.objects.event import Event, EventKind
from drover.objects.group import Hints
from drover.objects.instance import Fault, Instance, InstanceFilter, InstanceUsage
from drover.states import PowerState, RestartPolicy, VmState

__all__ = [
    "TOLD",
    "Secret",
    "add",
    "change",
    "find",
    "forget_released",
    "give_anew",
    "page",
    "resolve",
    "swap",
    "to_event",
    "to_secret",
    "to_value",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What goes into the guest and nowhere else."""

    user_data: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = field(default=(), repr=False)


def _time(text: str | None) -> datetime | None:
    return from_iso(text) if text else None


def to_value(row: Row[Any]) -> Instance:
    """One row of :data:`drover.db.schema.instance`; task_state, ports and clean-up are joined by callers."""
    return Instance(
        uuid=row.uuid,
        name=row.name,
        project_id=row.project_id,
        user_id=row.user_id,
        flavor=codec.from_json(row.flavor, Flavor),
        image_id=row.image_id,
        image_name=row.image_name,
        key_name=row.key_name,
        vm_state=VmState(row.vm_state),
        power_state=PowerState(row.power_state),
        host=row.host,
        epoch=row.epoch,
        locked=bool(row.locked),
        fault=codec.from_json(row.fault, Fault) if row.fault else None,
        usage=codec.from_json(row.usage, InstanceUsage) if row.usage else None,
        metadata=codec.from_json(row.metadata, dict[str, str]) if row.metadata != "{}" else {},
        tags=tuple(codec.from_json(row.tags, list[str])) if row.tags != "[]" else (),
        restart=RestartPolicy(row.restart),
        restarts=row.restarts,
        restarted_at=_time(row.restarted_at),
        restart_at=_time(row.restart_at),
        shelved_image_id=row.shelved_image_id,
        created_at=from_iso(row.created_at),
        launched_at=_time(row.launched_at),
        soft_deleted_at=_time(row.soft_deleted_at),
        hints=codec.from_json(row.hints, Hints) if row.hints else Hints(),
        deleted_at=_time(row.deleted_at),
    )


def add(conn: Connection, instances: Sequence[Instance], secrets_of: Mapping[str, Secret]) -> None:
    """Insert new instances with their secrets."""
    insert_rows(
        conn,
        instance,
        [
            {
                "uuid": i.uuid,
                "name": i.name,
                "project_id": i.project_id,
                "user_id": i.user_id,
                "flavor": codec.to_json(i.flavor),
                "image_id": i.image_id,
                "image_name": i.image_name,
                "key_name": i.key_name,
                "vm_state": i.vm_state.value,
                "power_state": i.power_state.value,
                "host": i.host,
                "epoch": i.epoch,
                "locked": int(i.locked),
                "fault": "",
                "metadata": codec.to_json(i.metadata),
                "tags": codec.to_json(i.tags),
                "restart": i.restart.value,
                "restarts": 0,
                "shelved_image_id": "",
                "usage": "",
                "observed": 0,
                "hints": codec.to_json(i.hints) if i.hints != Hints() else "",
                "created_at": to_iso(i.created_at),
            }
            for i in instances
        ],
    )
    rows = [
        {"instance_uuid": uuid, "user_data": s.user_data, "ssh_keys": codec.to_json(s.ssh_keys)}
        for uuid, s in secrets_of.items()
        if s.user_data or s.ssh_keys
    ]
    insert_rows(conn, instance_secret, rows)


def find(conn: Connection, uuids: Iterable[str], *, lock: bool = False) -> dict[str, Instance]:
    """By uuid; absent ones are absent.

    :param lock: as they are when nobody else changes them, until the transaction ends.
    """
    wanted = set(uuids)
    if not wanted:
        return {}
    query = _FIND_LOCKED if lock else _FIND
    return {row.uuid: to_value(row) for row in conn.execute(query, {"uuids": listed(wanted)})}


_FIND = select(instance).where(among(instance.c.uuid, bindparam("uuids")))
_FIND_LOCKED = _FIND.order_by(instance.c.uuid).with_for_update(key_share=True)


def to_secret(row: Row[Any]) -> Secret:
    """A row with the columns of :data:`drover.db.schema.instance_secret`."""
    return Secret(user_data=row.user_data, ssh_keys=codec.from_json(row.ssh_keys, tuple[str, ...]))


def resolve(conn: Connection, ref: str, *, project_id: str, deleted: bool = False) -> Instance:
    """By uuid (of any project), else by name within the project.

    :raises errors.InstanceNotFound: none; :raises errors.AmbiguousName: several live ones have the name.
    """
    row = conn.execute(select(instance).where(instance.c.uuid == ref)).first()
    if row is not None and (deleted or row.deleted_at is None):
        return to_value(row)
    query = select(instance).where(instance.c.name == ref, instance.c.project_id == project_id)
    query = query.where(instance.c.deleted_at.is_(None)).order_by(instance.c.created_at, instance.c.uuid)
    rows = conn.execute(query.limit(20)).all()
    if not rows:
        raise errors.InstanceNotFound(ref=ref)
    if len(rows) > 1:
        candidates = ", ".join(f"{row.uuid} ({row.vm_state} on {row.host or 'no host'})" for row in rows)
        raise errors.AmbiguousName(what="instance", ref=ref, candidates=candidates)
    return to_value(rows[0])


def change(conn: Connection, uuids: Iterable[str], **values: Any) -> list[Event]:
    """Set the same columns of several instances; those whose states were among them, as they are now."""
    parameters = {"uuids": listed(uuids), **{f"to_{name}": v for name, v in values.items()}}
    rows = conn.execute(_change(tuple(values)), parameters).all()
    return [to_event(row) for row in rows] if values.keys() & {"vm_state", "power_state"} else []


#: what an event tells of an instance
TOLD = ("uuid", "name", "project_id", "vm_state", "power_state", "host", "fault")


def to_event(row: Row[Any]) -> Event:
    """A row with the columns :data:`TOLD`."""
    fault = codec.from_json(row.fault, Fault) if row.fault else None
    return Event(
        kind=EventKind.INSTANCE,
        subject=row.uuid,
        state=row.vm_state,
        project_id=row.project_id,
        name=row.name,
        host=row.host,
        power_state=row.power_state,
        code=fault.code if fault else "",
        detail=fault.message if fault else "",
    )


@functools.cache
def _change(columns: tuple[str, ...]) -> ReturningUpdate[Any]:
    values: dict[str, BindParameter[Any]] = {name: bindparam(f"to_{name}") for name in columns}
    changed = update(instance).where(among(instance.c.uuid, bindparam("uuids"))).values(values)
    return changed.returning(*(instance.c[name] for name in TOLD))


def swap(conn: Connection, before: Instance, after: Instance) -> bool:
    """Write what a user may change of an instance; False when it is not as *before* any more, or is deleted."""
    i = instance.c
    old, new = _changeable(before), _changeable(after)
    unchanged = [i[name] == value for name, value in old.items()]
    query = update(instance).where(i.uuid == before.uuid, i.deleted_at.is_(None), *unchanged).values(**new)
    return conn.execute(query).rowcount == 1


def _changeable(it: Instance) -> dict[str, Any]:
    return {
        "name": it.name,
        "metadata": codec.to_json(it.metadata),
        "tags": codec.to_json(it.tags),
        "locked": int(it.locked),
        "restart": it.restart.value,
    }


def give_anew(conn: Connection, uuid: str) -> None:
    """It is to go to another host: the next epoch, no host yet, and nothing seen of it."""
    # What was seen on the old host has a stamp of its session, which says nothing about that of the new one.
    values = {"host": "", "epoch": instance.c.epoch + 1, "observed": 0}
    conn.execute(update(instance).where(instance.c.uuid == uuid).values(**values))


def page(conn: Connection, query: InstanceFilter, *, project_id: str) -> list[Instance]:
    """Newest first, one more than ``query.limit`` when there is a further page."""
    i = instance.c
    found = select(instance).where(i.deleted_at.is_not(None) if query.deleted else i.deleted_at.is_(None))
    if not query.all_projects:
        found = found.where(i.project_id == project_id)
    if query.name:
        found = found.where(begins(i.name, query.name))
    if query.host:
        found = found.where(i.host == query.host)
    if query.vm_state:
        found = found.where(i.vm_state == query.vm_state)
    for tag in query.tags:
        # A tag is in its list as it is in JSON, quotes and all. (LIKE would not tell a from A on SQLite.)
        position = func.strpos if conn.dialect.name == "postgresql" else func.instr
        found = found.where(position(i.tags, codec.to_json(tag)) > 0)
    if query.marker:
        after = select(i.created_at).where(i.uuid == query.marker).scalar_subquery()
        found = found.where(or_(i.created_at < after, and_(i.created_at == after, i.uuid < query.marker)))
    found = found.order_by(i.created_at.desc(), i.uuid.desc()).limit(query.limit + 1)
    return [to_value(row) for row in conn.execute(found)]


def forget_released(conn: Connection, uuids: Iterable[str]) -> None:
    """Give back addresses and secrets of those of *uuids* that are deleted and held by no host any more.

    What a fenced machine has is off; when it comes back, its records are cleaned up before anything starts there.
    """
    wanted = set(uuids)
    if not wanted:
        return
    conn.execute(_FORGET_PORTS, {"uuids": listed(wanted)})
    conn.execute(_FORGET_SECRETS, {"uuids": listed(wanted)})


def _forget(table: Table) -> Delete:
    """Rows of instances that are deleted and held nowhere."""
    of = table.c.instance_uuid
    return delete(table).where(
        among(of, bindparam("uuids")),
        exists().where(instance.c.uuid == of, instance.c.deleted_at.is_not(None)),
        ~exists()
        .where(allocation.c.instance_uuid == of)
        .where(~exists().where(host.c.name == allocation.c.host, host.c.fence != "")),
    )


_FORGET_PORTS = _forget(port)
_FORGET_SECRETS = _forget(instance_secret)


def fault_json(code: str, message: str, at: datetime) -> str:
    """The ``fault`` column of a failed operation."""
    return codec.to_json(Fault(code=code, message=message, at=at))

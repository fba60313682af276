"""What waits for something that nobody asks for: a restart, the end of a soft-delete, room on a host."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, exists, literal_column, select, update

from drover.clock import from_iso, to_iso
from drover.db.instance import to_value
from drover.db.orphan import DISK
from drover.db.schema import host, instance, operation, orphan
from drover.objects import codec
from drover.objects.group import Hints
from drover.objects.host import HostIdentity
from drover.objects.instance import Instance
from drover.states import OperationState, PowerState, VmState

__all__ = ["booted", "for_room", "restart_on", "to_reclaim", "to_restart"]

_I = instance.c


def booted(conn: Connection, who: HostIdentity) -> bool:
    """Whether a known host has booted since it last registered; its row is held."""
    query = select(host.c.boot_id).where(host.c.name == who.host).with_for_update()
    return conn.execute(query).scalar() not in (None, who.boot_id)


def restart_on(conn: Connection, name: str, now: datetime) -> None:
    """Those that should run on this host are to be started again, once they are seen off there."""
    here = (_I.host == name, _I.vm_state == VmState.ACTIVE.value, _I.deleted_at.is_(None), _I.restart_at.is_(None))
    conn.execute(update(instance).where(*here).values(restart_at=to_iso(now)))


def to_restart(conn: Connection, most: int) -> list[Instance]:
    """Idle ones that were seen off and are to be started, longest off first; rows that another holds are skipped."""
    return [to_value(row) for row in conn.execute(_TO_RESTART, {"most": most})]


def to_reclaim(conn: Connection, before: datetime, most: int) -> list[Instance]:
    """Idle and unlocked ones soft-deleted *before*, oldest first; rows that another holds are skipped."""
    return [to_value(row) for row in conn.execute(_TO_RECLAIM, {"before": to_iso(before), "most": most})]


_IDLE = ~exists().where(operation.c.instance_uuid == _I.uuid, operation.c.unfinished == 1)
_TO_RESTART = (
    select(instance)
    .where(
        _I.restart_at.is_not(None),
        _I.vm_state == VmState.ACTIVE.value,
        _I.power_state.in_((PowerState.SHUTDOWN.value, PowerState.CRASHED.value)),
        _I.deleted_at.is_(None),
        _IDLE,
        ~exists().where(
            orphan.c.instance_uuid == _I.uuid, orphan.c.power_state != DISK
        ),  # it may run elsewhere, without a record
    )
    .order_by(_I.restart_at, _I.uuid)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_TO_RECLAIM = (
    select(instance)
    .where(_I.soft_deleted_at < bindparam("before"), _I.locked == 0, _I.deleted_at.is_(None), _IDLE)
    .order_by(_I.soft_deleted_at, _I.uuid)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


def for_room(conn: Connection) -> dict[str, datetime | None]:
    """Operations that wait for room, oldest first, and until when they may. Asked in every round: it reads little."""
    rows = conn.execute(_FOR_ROOM).all()
    longest = {text: codec.from_json(text, Hints).wait_s for text in {row.hints for row in rows if row.hints}}
    return {
        row.id: from_iso(row.created_at) + timedelta(seconds=wait_s) if (wait_s := longest.get(row.hints, 0)) else None
        for row in rows
    }


_FOR_ROOM = (
    select(operation.c.id, operation.c.created_at, instance.c.hints)
    .join(instance, instance.c.uuid == operation.c.instance_uuid)
    .where(
        operation.c.waits != literal_column("''"),  # literally as in the index, which a parameter is not
        operation.c.unfinished == literal_column("1"),
        operation.c.state == OperationState.SCHEDULING.value,
    )
    .order_by(operation.c.created_at, operation.c.id)
)

"""What hypervisors show of guests, noted where it is newer and where no operation is at work."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, TextClause, text

from conductor.alarm import AlarmKind, raise_alarm
from drover.clock import to_iso
from drover.db import instance, orphan
from drover.db.bulk import recordset
from drover.objects import codec
from drover.objects.event import Event
from drover.objects.sync import SyncRequest
from drover.states import PlacementState, PowerState, RestartPolicy, VmState

__all__ = ["observe"]


def observe(conn: Connection, request: SyncRequest, now: datetime) -> list[Event]:
    """Apply the observations of one sync, all by one statement; what to tell after the commit.

    Each applies only if it is newer (session and seq) and from the host and epoch of the active placement; the
    vm_state follows the guest only while no operation is unfinished. A guest that ended though it should run stays
    active, to be started again by the reaper, if its restart policy or a boot of its host says so.
    """
    rows = [
        {
            "uuid": item.instance_uuid,
            "epoch": item.epoch,
            "power": item.power_state.value,
            "seen": codec.to_json(item.usage) if item.usage is not None else None,
            "rescue": int(item.rescue) if item.rescue is not None else None,
            "saved": int(item.saved) if item.saved is not None else None,
        }
        for item in sorted(request.observations, key=lambda o: o.instance_uuid)
    ]
    values = {
        "rows": codec.to_json(rows),
        "host": request.host,
        "stamp": request.session * 2**32 + request.seq,
        "now": to_iso(now),
    }
    before = _states(conn, request) if conn.dialect.name == "sqlite" else {}
    applied = {row.uuid: row for row in conn.execute(_OBSERVE[conn.dialect.name], values)}
    told = [
        instance.to_event(row)
        for uuid, row in applied.items()
        if (row.vm_state, row.power_state) != before.get(uuid, (row.old_vm_state, row.old_power_state))
    ]
    # In a quiet fleet every one applies, so that looking for orphans costs nothing there.
    doubtful = [item for item in request.observations if item.instance_uuid not in applied]
    for item in orphan.note(conn, request.host, doubtful, now):
        subject = orphan.subject(request.host, item.instance_uuid)
        detail = f"a domain of epoch {item.epoch}, {item.power_state}, that no placement names; see drover doctor"
        told += raise_alarm(conn, AlarmKind.ORPHAN_DOMAIN, subject, detail, now)
    return told


def _states(conn: Connection, request: SyncRequest) -> dict[str, tuple[str, str]]:
    """vm_state and power_state before they change, which SQLite's RETURNING cannot see; nobody else writes meanwhile."""
    seen = instance.find(conn, (item.instance_uuid for item in request.observations))
    return {uuid: (it.vm_state.value, it.power_state.value) for uuid, it in seen.items()}


_OFF = f"o.power IN ('{PowerState.SHUTDOWN}', '{PowerState.CRASHED}')"
_IDLE = "NOT EXISTS (SELECT 1 FROM operation WHERE instance_uuid = instance.uuid AND unfinished = 1)"
#: states that a guest leaves which is seen running: somebody started it, or a verb that was cancelled had come too far
_WAKES = ", ".join(f"'{s}'" for s in (VmState.STOPPED, VmState.PAUSED, VmState.SUSPENDED, VmState.SOFT_DELETED))
_POLICY = (
    f"(restart = '{RestartPolicy.ALWAYS}'"
    f" OR (restart = '{RestartPolicy.ON_FAILURE}' AND o.power = '{PowerState.CRASHED}'))"
)


#: asked of the instance's own row too: PostgreSQL looks at that again, and only at that, when it had to wait for it
_PLACED = f"deleted_at IS NULL AND vm_state <> '{VmState.SHELVED_OFFLOADED}' AND instance.epoch = o.epoch"
_SEEN = {
    "uuid": "text",
    "epoch": "integer",
    "power": "text",
    "seen": "text",
    "rescue": "integer",
    "saved": "integer",
}
#: it is off, and not because its host booted: then it is to run
_STAYS_OFF = (
    f"vm_state IN ('{VmState.ACTIVE}', '{VmState.STOPPED}', '{VmState.PAUSED}') AND {_OFF} AND restart_at IS NULL"
)
#: a suspend that was cancelled had come too far; or somebody saved it
_SAVED = f"{_STAYS_OFF} AND o.saved = 1"
#: a rescue or unrescue that was cancelled had come too far
_IN_RESCUE = (
    f"o.rescue = 1 AND (({_STAYS_OFF})"
    f" OR (vm_state IN ('{VmState.ACTIVE}', {_WAKES}) AND o.power = '{PowerState.RUNNING}'))"
)
_OUT_OF_RESCUE = f"vm_state = '{VmState.RESCUED}' AND o.rescue = 0"
#: what the instance was, where RETURNING can tell
_OLD = """, (
    SELECT uuid AS old_uuid, vm_state AS old_vm_state, power_state AS old_power_state FROM instance
) AS old"""


def _statement(dialect: str) -> TextClause:
    """A guest that changed by itself changes its instance's vm_state (Nova's periodic power sync does the same)."""
    seen = recordset(dialect, "rows", _SEEN)
    both = dialect == "postgresql"
    old = "old_vm_state, old_power_state" if both else "'' AS old_vm_state, '' AS old_power_state"
    told = ", ".join(f"instance.{name}" for name in instance.TOLD)
    return text(
        f"""
UPDATE instance SET
    power_state = o.power,
    vm_state = CASE
        WHEN {_IN_RESCUE} AND {_IDLE}
            THEN '{VmState.RESCUED}'
        WHEN {_OUT_OF_RESCUE} AND o.power = '{PowerState.RUNNING}' AND {_IDLE}
            THEN '{VmState.ACTIVE}'
        WHEN {_OUT_OF_RESCUE} AND {_OFF} AND {_IDLE}
            THEN '{VmState.STOPPED}'
        WHEN {_SAVED} AND {_IDLE}
            THEN '{VmState.SUSPENDED}'
        WHEN vm_state = '{VmState.SUSPENDED}' AND {_OFF} AND o.saved = 0 AND {_IDLE}
            THEN '{VmState.STOPPED}'
        WHEN vm_state = '{VmState.ACTIVE}' AND {_OFF} AND restart_at IS NULL AND NOT {_POLICY} AND {_IDLE}
            THEN '{VmState.STOPPED}'
        WHEN vm_state = '{VmState.PAUSED}' AND {_OFF} AND {_IDLE}
            THEN '{VmState.STOPPED}'
        WHEN vm_state = '{VmState.ACTIVE}' AND o.power = '{PowerState.PAUSED}' AND {_IDLE}
            THEN '{VmState.PAUSED}'
        WHEN vm_state IN ({_WAKES}) AND o.power = '{PowerState.RUNNING}' AND {_IDLE}
            THEN '{VmState.ACTIVE}'
        ELSE vm_state
    END,
    restart_at = CASE
        WHEN o.power = '{PowerState.RUNNING}' THEN NULL
        WHEN ({_SAVED}) OR ({_IN_RESCUE}) THEN restart_at
        WHEN vm_state = '{VmState.ACTIVE}' AND {_OFF} AND restart_at IS NULL AND {_POLICY} AND {_IDLE} THEN :now
        ELSE restart_at
    END,
    soft_deleted_at = CASE
        WHEN vm_state = '{VmState.SOFT_DELETED}' AND o.power = '{PowerState.RUNNING}' AND {_IDLE} THEN NULL
        ELSE soft_deleted_at
    END,
    usage = COALESCE(o.seen, usage),
    observed = :stamp
FROM {seen} AS o{_OLD if both else ""}
WHERE instance.uuid = o.uuid{" AND old_uuid = o.uuid" if both else ""} AND observed < :stamp AND {_PLACED} AND EXISTS (
    SELECT 1 FROM allocation
    WHERE instance_uuid = o.uuid AND host = :host AND epoch = o.epoch AND state = '{PlacementState.ACTIVE}'
)
RETURNING {told}, {old}
"""  # noqa: S608  the words are our own
    )


_OBSERVE = {dialect: _statement(dialect) for dialect in ("postgresql", "sqlite")}

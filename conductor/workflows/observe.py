"""What hypervisors show of guests, noted where it is newer and where no operation is at work."""

from __future__ import annotations

from sqlalchemy import Connection, TextClause, text

from drover.db.bulk import recordset
from drover.objects import codec
from drover.objects.sync import SyncRequest
from drover.states import PlacementState, PowerState, VmState

__all__ = ["observe"]


def observe(conn: Connection, request: SyncRequest) -> None:
    """Apply the observations of one sync, all by one statement.

    Each applies only if it is newer (session and seq) and from the host and epoch of the active placement; the
    vm_state follows the guest only while no operation is unfinished.
    """
    rows = [
        {
            "uuid": item.instance_uuid,
            "epoch": item.epoch,
            "power": item.power_state.value,
            "seen": codec.to_json(item.usage) if item.usage is not None else None,
        }
        for item in sorted(request.observations, key=lambda o: o.instance_uuid)
    ]
    stamp = request.session * 2**32 + request.seq
    conn.execute(_OBSERVE[conn.dialect.name], {"rows": codec.to_json(rows), "host": request.host, "stamp": stamp})


def _statement(dialect: str) -> TextClause:
    """A guest that changed by itself changes its instance's vm_state (Nova's periodic power sync does the same)."""
    seen = recordset(dialect, "rows", {"uuid": "text", "epoch": "integer", "power": "text", "seen": "text"})
    return text(
        f"""
UPDATE instance SET
    power_state = o.power,
    vm_state = CASE
        WHEN EXISTS (SELECT 1 FROM operation WHERE instance_uuid = instance.uuid AND unfinished = 1) THEN vm_state
        WHEN vm_state = '{VmState.ACTIVE}' AND o.power IN ('{PowerState.SHUTDOWN}', '{PowerState.CRASHED}')
            THEN '{VmState.STOPPED}'
        WHEN vm_state = '{VmState.STOPPED}' AND o.power = '{PowerState.RUNNING}' THEN '{VmState.ACTIVE}'
        ELSE vm_state
    END,
    usage = COALESCE(o.seen, usage),
    observed = :stamp
FROM {seen} AS o
WHERE instance.uuid = o.uuid AND observed < :stamp AND deleted_at IS NULL AND EXISTS (
    SELECT 1 FROM allocation
    WHERE instance_uuid = o.uuid AND host = :host AND epoch = o.epoch AND state = '{PlacementState.ACTIVE}'
)
"""  # noqa: S608  the words are our own
    )


_OBSERVE = {dialect: _statement(dialect) for dialect in ("postgresql", "sqlite")}

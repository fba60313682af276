"""What hypervisors show of guests, noted where it is newer and where no operation is at work."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Connection, String, bindparam, case, exists, or_, update

from drover.db.schema import allocation, instance, operation
from drover.objects import codec
from drover.objects.sync import SyncRequest
from drover.states import PlacementState, PowerState, VmState

__all__ = ["observe"]

#: what a guest that changed by itself means for its vm_state (Nova's periodic power sync does the same)
_OFF = (PowerState.SHUTDOWN.value, PowerState.CRASHED.value)


def observe(conn: Connection, request: SyncRequest) -> None:
    """Apply the observations of one sync.

    Each applies only if it is newer (session and seq) and from the host and epoch of the active placement; the
    vm_state follows the guest only while no operation is unfinished.
    """
    stamp = request.session * 2**32 + request.seq
    i = instance.c
    mine = (
        exists()
        .where(
            allocation.c.instance_uuid == i.uuid,
            allocation.c.host == request.host,
            allocation.c.epoch == bindparam("b_epoch"),
            allocation.c.state == PlacementState.ACTIVE.value,
        )
        .correlate(instance)
    )
    busy = exists().where(operation.c.instance_uuid == i.uuid, operation.c.unfinished == 1).correlate(instance)
    power: BindParameter[str] = bindparam("b_power", type_=String)
    # no IN: its parameters cannot go with executemany
    off = or_(*(power == state for state in _OFF))
    follows = case(
        (busy, i.vm_state),
        ((i.vm_state == VmState.ACTIVE.value) & off, VmState.STOPPED.value),
        ((i.vm_state == VmState.STOPPED.value) & (power == PowerState.RUNNING.value), VmState.ACTIVE.value),
        else_=i.vm_state,
    )
    statement = (
        update(instance)
        .where(i.uuid == bindparam("b_uuid"), i.observed < stamp, i.deleted_at.is_(None), mine)
        .values(power_state=power, vm_state=follows, observed=stamp)
    )
    with_usage = statement.values(usage=bindparam("b_usage"))
    plain: list[dict[str, Any]] = []
    full: list[dict[str, Any]] = []
    for item in sorted(request.observations, key=lambda o: o.instance_uuid):
        row = {"b_uuid": item.instance_uuid, "b_epoch": item.epoch, "b_power": item.power_state.value}
        if item.usage is None:
            plain.append(row)
        else:
            full.append({**row, "b_usage": codec.to_json(item.usage)})
    if plain:
        conn.execute(statement, plain)
    if full:
        conn.execute(with_usage, full)

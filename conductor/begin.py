"""New operations on existing instances, written with what they change at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from conductor import effect
from conductor.core import Core
from conductor.effect import Applied
from conductor.plan.sync import delete_done
from conductor.plan.verb import New
from drover.db import operation
from drover.objects.event import operation_event
from drover.objects.operation import Operation
from drover.states import Action, OperationState

__all__ = ["begin"]


def begin(core: Core, conn: Connection, new: Sequence[New]) -> tuple[Applied, list[Operation]]:
    """What was applied, and the operations as they are then, in the order of *new*.

    :raises drover.errors.StoreConflict: one of the instances has an unfinished operation already.
    """
    owner = core.owner()
    operations = [one.operation for one in new]
    applied = effect.apply(conn, [e for one in new for e in one.effects], owner)
    operation.add(conn, operations, owner_until=owner.until, keys={})
    applied.events += map(operation_event, operations)
    # No host has its current epoch: such a delete is over, and older remains are cleaned up behind it.
    over = [op for op in operations if op.action is Action.DELETE and not op.host]
    applied.add(effect.apply(conn, [e for op in over for e in delete_done(op)], owner))
    ended = operation.find(conn, (op.id for op in over))
    applied.requeued += [op.id for op in operations if op.state is OperationState.SCHEDULING]
    return applied, [ended.get(op.id, op) for op in operations]

"""What ``operation cancel`` comes to."""

from __future__ import annotations

from collections.abc import Sequence

from conductor.effect import Effect, Finish, Vm
from conductor.plan.sync import give_up, info, unfilled
from drover import errors
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.states import FINAL_STATES, VERBS, OperationState, PlacementState

__all__ = ["plan_cancel"]


def plan_cancel(op: Operation, placements: Sequence[Placement], user_id: str) -> list[Effect]:
    """Ends *op*; its host hears of it with its next sync (it holds an order that is nobody's any more).

    What the verb was to place, its host leaves. An instance is left as the verb leaves it when it fails.

    :raises errors.OperationNotCancellable: a delete; what it has taken away does not come back.
    """
    verb = VERBS[op.action]
    if op.state in FINAL_STATES:
        return []
    if verb.supersedes:
        raise errors.OperationNotCancellable(action=op.action.value, operation_id=op.id)
    error = info(errors.OperationCancelled(reason=f"by {user_id}"))
    effects: list[Effect] = [Finish(op.id, op.attempt, OperationState.CANCELLED, error), *unfilled(op)]
    if verb.places:
        effects += [give_up(p) for p in placements if p.operation_id == op.id and p.state is not PlacementState.LEAVING]
    if verb.places or verb.on_failure is not None:
        host = "" if verb.places else None
        effects.append(Vm(instance_uuid=op.instance_uuid, vm_state=verb.on_failure, fault=error, host=host))
    return effects

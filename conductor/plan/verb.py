"""What a verb on an existing instance comes to at once: whether it may begin, and what is written with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from conductor.effect import AddImage, Anew, DropImage, Effect, Finish, Vm
from conductor.plan.sync import give_up, info, unfilled
from drover import errors
from drover.clock import age_s
from drover.objects.catalog import Image, ImageFormat
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.states import VERBS, Action, OperationState, PlacementState, VmState, allowed

__all__ = ["New", "effective", "image_to_fill", "joins", "plan_verb", "refuse"]


@dataclass(frozen=True, slots=True)
class New:
    """An operation to be written, and what it changes at once."""

    operation: Operation
    effects: Sequence[Effect] = ()


def effective(action: Action, params: Mapping[str, str], target: Instance, reclaim_s: float) -> Action:
    """What was asked, or ``soft-delete`` where a delete can be taken back.

    :param reclaim_s: how long a deleted instance can be restored; 0: not at all.
    """
    soft = reclaim_s > 0 and params.get("force") != "true" and allowed(Action.SOFT_DELETE, target.vm_state)
    return Action.SOFT_DELETE if action is Action.DELETE and soft and target.host else action


def joins(action: Action, busy: Operation | None) -> bool:
    """Whether who asks for *action* gets the operation that runs: what was asked is under way, or more than that."""
    return busy is not None and VERBS[action].supersedes and busy.action in (action, Action.DELETE)


def refuse(action: Action, params: Mapping[str, str], target: Instance, busy: Operation | None, now: datetime) -> None:
    """:raises errors.InstanceLocked: InstanceBusy, InvalidState, InstanceNotPlaced: *action* may not begin now."""
    verb = VERBS[action]
    if target.locked:
        raise errors.InstanceLocked(instance=target.name)
    if busy is not None and not verb.supersedes:
        raise errors.InstanceBusy(
            instance=target.name,
            action=busy.action.value,
            operation_id=busy.id,
            age_s=int(age_s(busy.created_at, now)),
            state=busy.state.value,
        )
    legal = verb.legal
    if params.get("type") == "soft":
        legal = frozenset({VmState.ACTIVE})  # a soft reboot asks a guest that runs
    if target.vm_state not in legal:
        raise errors.InvalidState(
            action=action.value,
            instance=target.name,
            vm_state=target.vm_state.value,
            allowed=", ".join(sorted(legal)),
        )
    if not (target.host or verb.places or action is Action.DELETE):
        raise errors.InstanceNotPlaced(action=action.value, instance=target.name)


def plan_verb(
    op: Operation, target: Instance, busy: Operation | None, here: Sequence[Placement], image: Image | None
) -> New:
    """The operation *op*, begun on the instance's host, as its verb needs it.

    :param busy: what runs; only verbs that supersede it get here then.
    :param here: every placement of the instance; needed for ``delete`` and ``unshelve`` alone.
    :param image: what a rebuild or rescue boots, or what a snapshot or shelve is to fill.
    """
    effects: list[Effect] = _superseded(busy, op) if busy is not None else []
    if op.action is Action.DELETE:
        return _delete(op, target, here, effects)
    if op.action is Action.UNSHELVE:
        return New(_unshelve(op, target, here), [Anew(target.uuid)])
    if image is None:
        return New(op, effects)
    op = replace(op, params={**op.params, "image_id": image.id})
    if VERBS[op.action].uploads:
        return New(op, [AddImage(image)])
    if op.action is Action.REBUILD:
        if target.vm_state is VmState.STOPPED:
            op = replace(op, params={**op.params, "power": "off"})
        return New(op, [Vm(instance_uuid=target.uuid, image=image)])
    return New(op, effects)


def image_to_fill(target: Instance, base: Image | None, image_id: str, name: str) -> Image:
    """The image that a snapshot of *target* becomes. It needs what the instance has.

    :param base: what the instance was made from; None: nobody knows any more.
    """
    made_from = base or Image(id="", name="")
    return Image(
        id=image_id,
        name=name or f"{target.name}-shelved",  # as Nova names it
        format=ImageFormat.QCOW2,
        architecture=made_from.architecture,
        virt_type=made_from.virt_type,
        min_memory_mib=made_from.min_memory_mib,
        min_disk_gib=max(made_from.min_disk_gib, target.flavor.disk_gib),
    )


def _superseded(busy: Operation, by: Operation) -> list[Effect]:
    error = info(errors.Superseded(action=by.action.value, operation_id=by.id))
    return [Finish(busy.id, busy.attempt, OperationState.CANCELLED, error), *unfilled(busy)]


def _delete(op: Operation, target: Instance, here: Sequence[Placement], effects: list[Effect]) -> New:
    """Undelivered placements go at once; the others are left by their hosts, the current one by this order."""
    effects += [give_up(p) for p in here if p.state is not PlacementState.LEAVING]
    if target.shelved_image_id:
        effects.append(DropImage(target.shelved_image_id))
    current = [p for p in here if p.state not in (PlacementState.RESERVED, PlacementState.LEAVING)]
    return New(replace(op, host=current[-1].host if current else ""), effects)


def _unshelve(op: Operation, target: Instance, here: Sequence[Placement]) -> Operation:
    """To the scheduler, once no host has anything of it: a placement that is left may still run."""
    return replace(
        op,
        state=OperationState.QUEUED if here else OperationState.SCHEDULING,
        params={**op.params, "image_id": target.shelved_image_id},
        host="",
        dispatched_at=None,
    )

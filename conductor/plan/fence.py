"""What a fence comes to: an operator's word that a machine is off takes the place of its host's own reports.

Only that word.  What may still lie on its disks keeps its record: placements of builds and deletes become
``leaving``, which entitles their destroy when the machine is adopted; an instance's only copy keeps its active one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conductor.effect import Effect, Release, Requeue, Vm
from conductor.plan.sync import Facts, delete_done, failed, give_up
from drover.objects.instance import Instance
from drover.objects.operation import ErrorInfo, Operation
from drover.objects.placement import Placement
from drover.objects.preview import Consequence
from drover.states import VERBS, Action, PlacementState, PowerState, VmState

__all__ = ["AT_REST", "Planned", "plan_fence", "plan_forget"]

#: a fence changes nothing of instances in these states
AT_REST = (VmState.ERROR, VmState.SOFT_DELETED)


@dataclass(slots=True)
class Planned:
    """Effects, and the same in words."""

    effects: list[Effect] = field(default_factory=list)
    consequences: list[Consequence] = field(default_factory=list)

    def add(self, subject: str, effect: str, *effects: Effect) -> None:
        self.effects.extend(effects)
        self.consequences.append(Consequence(subject=subject, effect=effect))


def plan_fence(
    host: str, error: ErrorInfo, operations: Sequence[Operation], instances: Mapping[str, Instance], facts: Facts
) -> Planned:
    """Settle everything that waits for a fenced *host*.

    :param error: the ``HostFenced`` of it.
    :param operations: those dispatched to it or running there.
    :param instances: those with a placement there, by uuid.
    """
    planned = Planned()
    for op in operations:
        _end(planned, op, error, facts)
    ended = {op.instance_uuid for op in operations if op.action is Action.DELETE or VERBS[op.action].places}
    for uuid, it in sorted(instances.items()):
        if uuid not in ended and _is_there(it, host, facts.placements.get(uuid, ())) and it.vm_state not in AT_REST:
            lost = Vm(instance_uuid=uuid, vm_state=VmState.ERROR, power_state=PowerState.UNKNOWN, fault=error)
            planned.add(f"instance {it.name}", "error, HostFenced; its disk stays on the host", lost)
    return planned


def _is_there(it: Instance, host: str, placements: Sequence[Placement]) -> bool:
    """Whether the current copy of an instance is on *host*."""
    return it.deleted_at is None and any(
        p.host == host and p.epoch == it.epoch and p.state is PlacementState.ACTIVE for p in placements
    )


def _end(planned: Planned, op: Operation, error: ErrorInfo, facts: Facts) -> None:
    subject = f"{op.action} of {op.instance_name or op.instance_uuid}"
    taken_back = [
        give_up(p)
        for p in facts.placements.get(op.instance_uuid, ())
        if p.host == op.host and p.operation_id == op.id and p.state is not PlacementState.LEAVING
    ]
    if op.action is Action.DELETE:
        planned.add(subject, "succeeds; what is on the host goes when it is adopted", *delete_done(op))
    elif not VERBS[op.action].places:
        # What becomes of the instance is said of all that are there.
        planned.add(subject, "fails, HostFenced", *(e for e in failed(op, error) if not isinstance(e, Vm)))
    elif op.attempt < facts.build_attempts:
        planned.add(subject, "goes to another host", *taken_back, Requeue(op, op.host))
    else:
        planned.add(subject, f"fails, HostFenced: attempt {op.attempt} was the last", *taken_back, *failed(op, error))


def plan_forget(host: str, placements: Sequence[Placement], instances: Mapping[str, Instance]) -> Planned:
    """Give up everything that a fenced *host* holds: nobody expects its disks back."""
    planned = Planned()
    for p in placements:
        it = instances.get(p.instance_uuid)
        subject = f"instance {it.name if it else p.instance_uuid}"
        gone = Release(p.instance_uuid, p.host, p.epoch)
        if it is not None and _is_there(it, host, [p]):
            lost = Vm(instance_uuid=it.uuid, power_state=PowerState.UNKNOWN, host="")
            planned.add(subject, "its disk is given up; delete it, or recover it --as retry", gone, lost)
        else:
            planned.add(subject, "its clean-up there is given up", gone)
    return planned

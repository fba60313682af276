"""Rows for plans, with only what a test cares about spelled out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from conductor.plan.sync import Facts
from drover.objects.catalog import Flavor
from drover.objects.host import Resources
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.states import Action, OperationState, PlacementState, VmState

__all__ = ["T0", "facts", "instance", "later", "operation", "placement"]

T0 = datetime(2030, 1, 1, tzinfo=UTC)
#: verbs whose operation names an image
WITH_IMAGE = frozenset({Action.REBUILD, Action.RESCUE, Action.SNAPSHOT, Action.SHELVE, Action.UNSHELVE})


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def operation(action: Action = Action.BUILD, **changes: object) -> Operation:
    op = Operation(
        id="op",
        instance_uuid="i",
        action=action,
        state=OperationState.RUNNING,
        attempt=1,
        params={"image_id": "img"} if action in WITH_IMAGE else {},
        host="h1",
        queue_budget_s=300.0,
        run_budget_s=600.0,
        created_at=T0,
        dispatched_at=T0,
        started_at=T0,
    )
    return replace(op, **changes)  # type: ignore[arg-type]


def instance(**changes: object) -> Instance:
    it = Instance(
        uuid="i",
        name="vm",
        project_id="default",
        user_id="admin",
        flavor=Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=1),
        image_id="img",
        vm_state=VmState.ACTIVE,
        host="h1",
        created_at=T0,
    )
    return replace(it, **changes)  # type: ignore[arg-type]


def placement(state: PlacementState, **changes: object) -> Placement:
    p = Placement(instance_uuid="i", host="h1", epoch=1, state=state, operation_id="op", resources=Resources(vcpus=1))
    return replace(p, **changes)  # type: ignore[arg-type]


def facts(*rows: Operation | Placement, build_attempts: int = 3) -> Facts:
    operations = {row.id: row for row in rows if isinstance(row, Operation)}
    placements: dict[str, list[Placement]] = {}
    for row in rows:
        if isinstance(row, Placement):
            placements.setdefault(row.instance_uuid, []).append(row)
    return Facts(
        operations=operations,
        busy={op.instance_uuid: op for op in operations.values()},
        placements=placements,
        build_attempts=build_attempts,
    )

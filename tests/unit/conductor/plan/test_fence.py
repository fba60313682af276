from __future__ import annotations

import pytest

from conductor.effect import DropImage, Effect, Finish, Move, Release, Requeue, Vm
from conductor.plan.fence import plan_fence, plan_forget
from conductor.plan.sync import info
from drover import errors
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.states import Action, OperationState, PlacementState, VmState
from tests.unit.conductor.plan.rows import facts, instance, operation, placement

FENCED = info(errors.HostFenced(host="h1", by="me", at="now", reason="off"))


def fenced(op: Operation | None, *placements: Placement, vm_state: VmState = VmState.ACTIVE) -> list[Effect]:
    rows = [op, *placements] if op else placements
    planned = plan_fence("h1", FENCED, [op] if op else [], {"i": instance(vm_state=vm_state)}, facts(*rows))
    assert len(planned.consequences) <= len(planned.effects)
    return planned.effects


@pytest.mark.parametrize("state", [PlacementState.HELD, PlacementState.PERMITTED])
def test_a_build_goes_elsewhere_and_leaves_a_record(state: PlacementState) -> None:
    op = operation()
    moved, requeued = fenced(op, placement(state), vm_state=VmState.BUILDING)
    assert isinstance(moved, Move)
    assert (moved.to, requeued) == (PlacementState.LEAVING, Requeue(op, "h1"))


def test_an_order_that_was_never_handed_out_leaves_none() -> None:
    effects = fenced(operation(), placement(PlacementState.RESERVED), vm_state=VmState.BUILDING)
    assert isinstance(effects[0], Release)
    assert isinstance(effects[1], Requeue)


def test_the_last_attempt_fails() -> None:
    effects = fenced(operation(attempt=3), placement(PlacementState.HELD), vm_state=VmState.BUILDING)
    assert [e.state for e in effects if isinstance(e, Finish)] == [OperationState.FAILED]
    assert [(e.vm_state, e.host) for e in effects if isinstance(e, Vm)] == [(VmState.ERROR, "")]


def test_a_delete_succeeds_and_its_leaving_placement_stays() -> None:
    effects = fenced(operation(Action.DELETE), placement(PlacementState.LEAVING))
    assert [e.state for e in effects if isinstance(e, Finish)] == [OperationState.SUCCEEDED]
    assert not [e for e in effects if isinstance(e, Release | Move)]


def test_a_verb_fails_its_image_goes_and_the_instance_keeps_its_placement() -> None:
    effects = fenced(operation(Action.SNAPSHOT, params={"image_id": "x"}), placement(PlacementState.ACTIVE))
    assert DropImage("x") in effects
    assert [(e.vm_state, e.fault) for e in effects if isinstance(e, Vm)] == [(VmState.ERROR, FENCED)]
    assert not [e for e in effects if isinstance(e, Release | Move)]


@pytest.mark.parametrize("vm_state", [VmState.ERROR, VmState.SOFT_DELETED])
def test_what_is_at_rest_stays_as_it_is(vm_state: VmState) -> None:
    assert fenced(None, placement(PlacementState.ACTIVE), vm_state=vm_state) == []


def test_an_older_copy_says_nothing_of_the_instance() -> None:
    assert fenced(None, placement(PlacementState.ACTIVE, epoch=0)) == []


def test_forgetting_gives_up_every_placement_and_the_instances_that_were_there() -> None:
    rows = [placement(PlacementState.ACTIVE), placement(PlacementState.LEAVING, instance_uuid="gone")]
    effects = plan_forget("h1", rows, {"i": instance()}).effects
    assert [e.instance_uuid for e in effects if isinstance(e, Release)] == ["i", "gone"]
    assert [(e.instance_uuid, e.host) for e in effects if isinstance(e, Vm)] == [("i", "")]

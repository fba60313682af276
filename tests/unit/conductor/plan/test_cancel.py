"""``operation cancel`` of every verb in every state."""

from __future__ import annotations

import pytest

from conductor.effect import DropImage, Finish, Move, Release, Vm
from conductor.plan.cancel import plan_cancel
from drover import errors
from drover.states import FINAL_STATES, UNFINISHED_STATES, VERBS, Action, OperationState, PlacementState, VmState
from tests.unit.conductor.plan.rows import operation, placement

CANCELLABLE = [a for a in Action if a not in (Action.DELETE, Action.SOFT_DELETE)]


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_what_has_ended_stays_so(action: Action, state: OperationState) -> None:
    assert plan_cancel(operation(action, state=state), [placement(PlacementState.ACTIVE)], "u") == []


@pytest.mark.parametrize("action", [Action.DELETE, Action.SOFT_DELETE])
@pytest.mark.parametrize("state", sorted(UNFINISHED_STATES))
def test_a_delete_cannot_be_taken_back(action: Action, state: OperationState) -> None:
    with pytest.raises(errors.OperationNotCancellable):
        plan_cancel(operation(action, state=state), [], "u")


@pytest.mark.parametrize("action", CANCELLABLE)
@pytest.mark.parametrize("state", sorted(UNFINISHED_STATES))
def test_a_cancelled_verb_ends_and_leaves_the_instance_as_a_failure_would(
    action: Action, state: OperationState
) -> None:
    effects = plan_cancel(operation(action, state=state), [], "u")
    [finish] = [e for e in effects if isinstance(e, Finish)]
    assert (finish.attempt, finish.state) == (1, OperationState.CANCELLED)
    assert finish.error is not None
    assert finish.error.code == "OperationCancelled"
    assert (DropImage("img") in effects) is VERBS[action].uploads
    vms = [e for e in effects if isinstance(e, Vm)]
    if action in (Action.BUILD, Action.REBUILD):
        assert [vm.vm_state for vm in vms] == [VmState.ERROR]
    elif action is Action.UNSHELVE:
        assert [(vm.vm_state, vm.host) for vm in vms] == [(None, "")], "it stays shelved"
    else:
        assert vms == []


@pytest.mark.parametrize("action", [Action.BUILD, Action.UNSHELVE])
@pytest.mark.parametrize("state", list(PlacementState))
def test_its_placement_goes_at_once_only_if_its_order_was_never_handed_out(
    action: Action, state: PlacementState
) -> None:
    older = placement(PlacementState.ACTIVE, operation_id="older")
    effects = plan_cancel(operation(action), [older, placement(state, epoch=2)], "u")
    given_up = [e for e in effects if isinstance(e, Move | Release)]
    if state is PlacementState.LEAVING:
        assert given_up == []
    elif state is PlacementState.RESERVED:
        assert given_up == [Release("i", "h1", 2)]
    else:
        [move] = given_up
        assert isinstance(move, Move)
        assert (move.epoch, move.to) == (2, PlacementState.LEAVING)


def test_a_guest_that_was_there_before_the_verb_stays() -> None:
    effects = plan_cancel(operation(Action.SHELVE), [placement(PlacementState.ACTIVE)], "u")
    assert not [e for e in effects if isinstance(e, Move | Release)]

"""What becomes of operations that nobody looks after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.effect import DropImage, Finish, Move, Release, Requeue, Schedule, Vm
from conductor.plan.reap import HostView, plan_reap
from drover.states import VERBS, Action, OperationState, PlacementState
from tests.unit.conductor.plan.rows import T0, facts, later, operation, placement

SILENT = {"h1": HostView(silent=True, spoke_at=T0)}


def live(spoke_s: float) -> dict[str, HostView]:
    return {"h1": HostView(silent=False, spoke_at=later(spoke_s))}


def test_an_unplaced_operation_is_nudged_again() -> None:
    reaped = plan_reap(operation(state=OperationState.SCHEDULING, host=""), {}, facts(), later(20), braked=False)
    assert reaped.renew
    assert reaped.schedule
    assert not reaped.effects


def test_an_operation_that_no_scheduler_takes_ends() -> None:
    op = operation(state=OperationState.SCHEDULING, host="")
    reaped = plan_reap(op, {}, facts(), later(10_000), braked=False)
    [finish] = [e for e in reaped.effects if isinstance(e, Finish)]
    assert finish.error is not None
    assert finish.error.code == "BudgetExceeded"


@pytest.mark.parametrize("state", [PlacementState.RESERVED, PlacementState.HELD])
def test_an_unpermitted_build_on_a_silent_host_is_given_away_at_once(state: PlacementState) -> None:
    op = operation(state=OperationState.DISPATCHED)
    reaped = plan_reap(op, SILENT, facts(op, placement(state)), later(20), braked=False)
    assert any(isinstance(e, Requeue) and e.exclude == "h1" for e in reaped.effects)
    assert any(isinstance(e, Release) for e in reaped.effects) is (state is PlacementState.RESERVED)
    assert any(isinstance(e, Move) for e in reaped.effects) is (state is PlacementState.HELD)


def test_a_permitted_build_on_a_silent_host_waits_for_its_budget_and_then_leaves_a_placement_behind() -> None:
    op = operation()
    rows = facts(op, placement(PlacementState.PERMITTED))
    assert plan_reap(op, SILENT, rows, later(500), braked=False).renew
    late = plan_reap(op, SILENT, rows, later(601), braked=False)
    assert any(isinstance(e, Move) and e.to is PlacementState.LEAVING for e in late.effects)
    [finish] = [e for e in late.effects if isinstance(e, Finish)]
    assert finish.error is not None
    assert finish.error.code == "HostSilent"
    assert not any(isinstance(e, Release | Requeue) for e in late.effects)


def test_mass_silence_moves_nothing() -> None:
    op = operation(state=OperationState.DISPATCHED)
    reaped = plan_reap(op, SILENT, facts(op, placement(PlacementState.HELD)), later(9999), braked=True)
    assert reaped.renew
    assert not reaped.effects


def test_on_a_live_host_a_budget_ends_only_by_a_sync_that_began_after_it() -> None:
    op = operation()
    rows = facts(op, placement(PlacementState.PERMITTED))
    assert plan_reap(op, live(599), rows, later(700), braked=False).renew
    assert plan_reap(op, live(601), rows, later(700), braked=False).effects


@pytest.mark.parametrize("hosts", [SILENT, live(301)])
def test_a_delete_past_its_budget_succeeds_for_the_user_and_leaves_the_placement(hosts: dict[str, HostView]) -> None:
    op = operation(Action.DELETE, run_budget_s=300.0)
    reaped = plan_reap(op, hosts, facts(op, placement(PlacementState.LEAVING)), later(302), braked=False)
    assert Finish("op", 1, OperationState.SUCCEEDED) in reaped.effects
    assert any(isinstance(e, Vm) and e.deleted for e in reaped.effects)
    assert not any(isinstance(e, Release) for e in reaped.effects)


@given(
    action=st.sampled_from(list(Action)),
    state=st.sampled_from(list(OperationState)),
    placed=st.sampled_from(list(PlacementState)),
    silent=st.booleans(),
    spoke_s=st.one_of(st.none(), st.floats(0, 1e5)),
    now_s=st.floats(0, 1e5),
    braked=st.booleans(),
)
def test_what_may_run_is_never_released_by_a_clock(
    action: Action,
    state: OperationState,
    placed: PlacementState,
    silent: bool,
    spoke_s: float | None,
    now_s: float,
    braked: bool,
) -> None:
    op = operation(action, state=state)
    view = HostView(silent=silent, spoke_at=None if spoke_s is None else later(spoke_s))
    reaped = plan_reap(op, {"h1": view}, facts(op, placement(placed)), later(now_s), braked=braked)
    if placed is not PlacementState.RESERVED:
        assert not any(isinstance(e, Release) for e in reaped.effects)
    if placed in (PlacementState.PERMITTED, PlacementState.ACTIVE):
        assert not any(isinstance(e, Requeue) for e in reaped.effects)


@pytest.mark.parametrize("action", [a for a in Action if a not in (Action.DELETE, Action.BUILD)])
@pytest.mark.parametrize("hosts", [SILENT, live(9999)])
def test_a_verb_past_its_budget_leaves_the_instance_as_its_row_says_and_gives_its_image_back(
    action: Action, hosts: dict[str, HostView]
) -> None:
    op = operation(action)
    reaped = plan_reap(op, hosts, facts(op, placement(PlacementState.PERMITTED)), later(9999), braked=False)
    [vm] = [e for e in reaped.effects if isinstance(e, Vm)]
    assert vm.vm_state is VERBS[action].on_failure
    assert vm.fault is not None
    assert (DropImage("img") in reaped.effects) is VERBS[action].uploads
    assert any(isinstance(e, Move) for e in reaped.effects) is VERBS[action].places


def test_an_unshelve_on_a_silent_host_goes_elsewhere_like_a_build() -> None:
    op = operation(Action.UNSHELVE, state=OperationState.DISPATCHED)
    reaped = plan_reap(op, SILENT, facts(op, placement(PlacementState.HELD)), later(20), braked=False)
    assert any(isinstance(e, Requeue) and e.exclude == "h1" for e in reaped.effects)


def test_a_queued_unshelve_goes_to_the_scheduler_once_no_host_can_run_it() -> None:
    op = operation(Action.UNSHELVE, state=OperationState.QUEUED, host="")
    left = placement(PlacementState.LEAVING, operation_id="older")
    waiting = plan_reap(op, live(0), facts(op, left), later(20), braked=False)
    assert (waiting.renew, waiting.effects, waiting.schedule) == (True, (), False)
    assert plan_reap(op, live(0), facts(op), later(20), braked=False).effects == (Schedule("op", 1),)
    fenced = {"h1": HostView(silent=True, spoke_at=T0, fenced=True)}
    assert plan_reap(op, fenced, facts(op, left), later(20), braked=False).effects == (Schedule("op", 1),)
    late = plan_reap(op, live(0), facts(op, left), later(9999), braked=False)
    [vm] = [e for e in late.effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.host) == (None, ""), "it stays shelved, with the reason"

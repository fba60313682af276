"""Each item of a sync against each state it may meet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.effect import (
    Begin,
    BuildFailed,
    DropImage,
    Effect,
    Finish,
    Grant,
    Move,
    Release,
    Requeue,
    Schedule,
    Setback,
    Vm,
)
from conductor.plan.sync import (
    SyncPlan,
    choose_orders,
    plan_begun,
    plan_drops,
    plan_gone,
    plan_result,
)
from drover.objects.catalog import ImageStatus
from drover.objects.operation import ErrorInfo, Operation
from drover.objects.sync import Begun, Gone, Held, Outcome, Permit, Result
from drover.states import FINAL_STATES, VERBS, Action, OperationState, PlacementState, PowerState, Verdict, VmState
from tests.unit.conductor.plan.rows import facts, later, operation, placement

ERROR = ErrorInfo(code="DriverError", message="no", retryable=True)


def result(**changes: object) -> Result:
    values: dict[str, object] = {
        "operation_id": "op",
        "attempt": 1,
        "instance_uuid": "i",
        "epoch": 1,
        "outcome": Outcome.SUCCEEDED,
        "power_state": PowerState.RUNNING,
    }
    return Result(**{**values, **changes})  # type: ignore[arg-type]


def ended(*rows: object, host: str = "h1", build_attempts: int = 3, **changes: object) -> SyncPlan:
    plan = SyncPlan()
    plan_result(plan, facts(*rows, build_attempts=build_attempts), host, result(**changes))  # type: ignore[arg-type]
    return plan


def test_a_build_that_worked_makes_the_instance_active_and_its_placement_too() -> None:
    plan = ended(operation(), placement(PlacementState.PERMITTED))
    assert Finish("op", 1, OperationState.SUCCEEDED) in plan.effects
    assert any(isinstance(e, Move) and e.to is PlacementState.ACTIVE for e in plan.effects)
    [vm] = [e for e in plan.effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.power_state, vm.launched) == (VmState.ACTIVE, PowerState.RUNNING, True)
    assert [a.verdict for a in plan.acks] == [Verdict.APPLIED]


@pytest.mark.parametrize("clean", [True, False])
def test_a_failed_build_goes_elsewhere_and_gives_back_only_what_is_known_to_be_gone(clean: bool) -> None:
    plan = ended(operation(), placement(PlacementState.HELD), outcome=Outcome.FAILED, error=ERROR, clean=clean)
    assert any(isinstance(e, Requeue) and e.exclude == "h1" for e in plan.effects)
    assert any(isinstance(e, Release) for e in plan.effects) is clean
    assert any(isinstance(e, Move) and e.to is PlacementState.LEAVING for e in plan.effects) is not clean
    assert not any(isinstance(e, Finish) for e in plan.effects)


def test_a_permitted_build_that_failed_goes_elsewhere_only_when_its_host_says_that_it_is_gone() -> None:
    permitted = placement(PlacementState.PERMITTED)
    plan = ended(operation(), permitted, outcome=Outcome.FAILED, error=ERROR, clean=False)
    assert [type(e) for e in plan.effects] == [Move, Setback, BuildFailed]
    assert Setback("op", 1, ERROR) in plan.effects
    leaving = placement(PlacementState.LEAVING)
    plan = SyncPlan()
    plan_gone(plan, facts(operation(), leaving), "h1", Gone(instance_uuid="i", epoch=1))
    assert plan.effects == [Release("i", "h1", 1), Requeue(operation(), "h1")]
    plan = ended(operation(), permitted, outcome=Outcome.FAILED, error=ERROR, clean=True)
    assert any(isinstance(e, Requeue) for e in plan.effects)


def test_gone_of_an_earlier_host_moves_no_build() -> None:
    plan = SyncPlan()
    rows = facts(
        operation(host="h2", attempt=2),
        placement(PlacementState.LEAVING),
        placement(PlacementState.HELD, host="h2", epoch=2),
    )
    plan_gone(plan, rows, "h1", Gone(instance_uuid="i", epoch=1))
    assert plan.effects == [Release("i", "h1", 1)]


@pytest.mark.parametrize(("attempt", "retryable"), [(3, True), (1, False)])
def test_a_build_fails_for_good_after_its_last_attempt_or_for_a_reason_that_stays(
    attempt: int, retryable: bool
) -> None:
    error = ErrorInfo(code="X", message="no", retryable=retryable)
    plan = ended(
        operation(attempt=attempt),
        placement(PlacementState.HELD),
        attempt=attempt,
        outcome=Outcome.FAILED,
        error=error,
        clean=True,
    )
    assert Finish("op", attempt, OperationState.FAILED, error) in plan.effects
    assert not any(isinstance(e, Requeue) for e in plan.effects)
    [vm] = [e for e in plan.effects if isinstance(e, Vm)]
    assert vm.vm_state is VmState.ERROR
    assert vm.fault == error


@given(
    state=st.sampled_from(list(OperationState)),
    attempt=st.integers(1, 3),
    told=st.integers(1, 3),
    host=st.sampled_from(["h1", "h2", ""]),
    action=st.sampled_from(list(Action)),
    outcome=st.sampled_from(list(Outcome)),
)
def test_a_stale_result_has_no_effect(
    state: OperationState, attempt: int, told: int, host: str, action: Action, outcome: Outcome
) -> None:
    op = operation(action, state=state, attempt=attempt, host=host)
    plan = ended(op, placement(PlacementState.HELD), attempt=told, outcome=outcome)
    current = state not in FINAL_STATES and attempt == told and host == "h1"
    assert (plan.acks[0].verdict is Verdict.APPLIED) is current
    if not current:
        assert plan.effects == []


def test_a_result_of_an_unknown_operation_is_rejected() -> None:
    plan = ended()
    assert plan.acks[0].verdict is Verdict.REJECTED
    assert plan.effects == []


def test_a_delete_that_worked_releases_every_epoch_the_host_had() -> None:
    old = placement(PlacementState.LEAVING)
    new = placement(PlacementState.LEAVING, epoch=2)
    elsewhere = placement(PlacementState.LEAVING, host="h2")
    plan = ended(operation(Action.DELETE), old, new, elsewhere, epoch=2)
    released = {(e.host, e.epoch) for e in plan.effects if isinstance(e, Release)}
    assert released == {("h1", 1), ("h1", 2)}
    assert any(isinstance(e, Vm) and e.deleted for e in plan.effects)


def test_a_delete_that_failed_stays_unfinished_and_is_ordered_again() -> None:
    plan = ended(operation(Action.DELETE), placement(PlacementState.LEAVING), outcome=Outcome.FAILED, error=ERROR)
    assert plan.effects == []
    assert plan.acks[0].verdict is Verdict.APPLIED


@pytest.mark.parametrize(
    ("state", "granted"),
    [
        (PlacementState.RESERVED, True),
        (PlacementState.HELD, True),
        (PlacementState.PERMITTED, True),
        (PlacementState.LEAVING, False),
    ],
)
def test_a_permit_is_asked_of_the_row_unless_it_is_leaving(state: PlacementState, granted: bool) -> None:
    plan = SyncPlan()
    op = operation(state=OperationState.DISPATCHED)
    plan_begun(plan, facts(op, placement(state)), "h1", Begun(operation_id="op", attempt=1, permit=True))
    assert Begin("op", 1) in plan.effects
    assert (Grant("op", 1, "i", "h1", 1) in plan.effects) is granted
    assert bool(plan.permits) is not granted


def test_a_permit_for_a_stale_attempt_is_refused_and_changes_nothing() -> None:
    plan = SyncPlan()
    plan_begun(plan, facts(operation(attempt=2)), "h1", Begun(operation_id="op", attempt=1, permit=True))
    assert plan.permits == [Permit(operation_id="op", attempt=1, granted=False)]
    assert plan.effects == []


def test_gone_releases_only_what_was_leaving_on_that_host() -> None:
    plan = SyncPlan()
    rows = (
        placement(PlacementState.LEAVING, epoch=1),
        placement(PlacementState.ACTIVE, epoch=2),
        placement(PlacementState.LEAVING, epoch=1, host="h2"),
    )
    plan_gone(plan, facts(*rows), "h1", Gone(instance_uuid="i", epoch=2))
    assert plan.effects == [Release("i", "h1", 1)]


def test_gone_ends_the_delete_that_waited_for_it() -> None:
    plan = SyncPlan()
    rows = facts(operation(Action.DELETE), placement(PlacementState.LEAVING))
    plan_gone(plan, rows, "h1", Gone(instance_uuid="i", epoch=1))
    assert Finish("op", 1, OperationState.SUCCEEDED) in plan.effects


def test_what_a_host_holds_without_right_is_dropped() -> None:
    plan = SyncPlan()
    rows = facts(operation(), operation(id="done", state=OperationState.CANCELLED))
    held = [Held(operation_id=name, attempt=1) for name in ("op", "done", "unknown")]
    plan_drops(plan, rows, "h1", held)
    assert [d.operation_id for d in plan.drops] == ["done", "unknown"]


def test_orders_go_out_deletes_first_within_each_pools_room() -> None:
    waiting = [
        operation(Action.BUILD, id="b1"),
        operation(Action.BUILD, id="b2", created_at=later(-1)),
        operation(Action.START, id="s1"),
        operation(Action.DELETE, id="d1"),
    ]
    want = {"build": 1, "lifecycle": 4, "delete": 4}
    assert [op.id for op in choose_orders(waiting, [], [], want)] == ["d1", "s1", "b2"]


@given(
    waiting=st.lists(
        st.tuples(st.sampled_from(list(Action)), st.integers(0, 20)), max_size=20, unique_by=lambda t: t[1]
    ),
    held=st.sets(st.integers(0, 20)),
    want=st.fixed_dictionaries(
        {"build": st.integers(0, 5), "lifecycle": st.integers(0, 5), "delete": st.integers(0, 5)}
    ),
)
def test_no_order_twice_and_none_beyond_the_room(
    waiting: list[tuple[Action, int]], held: set[int], want: dict[str, int]
) -> None:
    rows: list[Operation] = [operation(action, id=f"{n}") for action, n in waiting]
    known = [Held(operation_id=f"{n}", attempt=1) for n in held]
    chosen = choose_orders(rows, known, [], want)
    assert not {op.id for op in chosen} & {h.operation_id for h in known}
    assert sum(op.action is Action.BUILD for op in chosen) <= want["build"]
    assert sum(op.action is Action.DELETE for op in chosen) <= want["delete"]


ON_HOST = [a for a in Action if not VERBS[a].places and a is not Action.DELETE]


@pytest.mark.parametrize("action", [a for a in ON_HOST if a is not Action.SHELVE])
def test_a_verb_that_worked_ends_where_its_row_says(action: Action) -> None:
    plan = ended(operation(action), placement(PlacementState.ACTIVE))
    assert plan.effects == [
        Finish("op", 1, OperationState.SUCCEEDED),
        Vm(instance_uuid="i", vm_state=VERBS[action].end, power_state=PowerState.RUNNING),
    ]


@pytest.mark.parametrize("action", ON_HOST)
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
def test_a_verb_that_failed_says_why_and_gives_its_image_back(action: Action, outcome: Outcome) -> None:
    plan = ended(operation(action), placement(PlacementState.ACTIVE), outcome=outcome, error=ERROR)
    assert Finish("op", 1, OperationState.FAILED, ERROR) in plan.effects
    [vm] = [e for e in plan.effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.fault, vm.host) == (VERBS[action].on_failure, ERROR, None)
    assert (DropImage("img") in plan.effects) is VERBS[action].uploads
    assert not any(isinstance(e, Move | Release) for e in plan.effects), "the guest stays where it is"


def test_a_rebuild_of_a_stopped_guest_ends_stopped() -> None:
    plan = ended(operation(Action.REBUILD), power_state=PowerState.SHUTDOWN)
    [vm] = [e for e in plan.effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.power_state) == (VmState.STOPPED, PowerState.SHUTDOWN)


def shelved(status: ImageStatus | None, *, clean: bool = False) -> list[Effect]:
    rows = facts(operation(Action.SHELVE), placement(PlacementState.ACTIVE, operation_id="build"))
    plan = SyncPlan()
    known = {"img": status} if status else {}
    plan_result(plan, replace(rows, images=known), "h1", result(clean=clean, power_state=PowerState.SHUTDOWN))
    return plan.effects


@pytest.mark.parametrize("clean", [True, False])
def test_a_shelved_guest_leaves_its_host_once_its_disk_is_an_active_image(clean: bool) -> None:
    effects = shelved(ImageStatus.ACTIVE, clean=clean)
    [vm] = [e for e in effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.host, vm.shelved_image_id) == (VmState.SHELVED_OFFLOADED, "", "img")
    assert any(isinstance(e, Release) for e in effects) is clean
    assert any(isinstance(e, Move) and e.to is PlacementState.LEAVING for e in effects) is not clean
    assert DropImage("img") not in effects


@pytest.mark.parametrize("status", [None, ImageStatus.QUEUED, ImageStatus.ERROR])
def test_a_guest_whose_image_is_not_there_is_not_let_go(status: ImageStatus | None) -> None:
    effects = shelved(status)
    [finish] = [e for e in effects if isinstance(e, Finish)]
    assert finish.error is not None
    assert finish.error.code == "ImageNotReady"
    assert not any(isinstance(e, Move | Release) for e in effects)
    assert [e.vm_state for e in effects if isinstance(e, Vm)] == [None]


def test_an_unshelve_that_worked_needs_its_image_no_more() -> None:
    plan = ended(operation(Action.UNSHELVE), placement(PlacementState.PERMITTED))
    assert DropImage("img") in plan.effects
    [vm] = [e for e in plan.effects if isinstance(e, Vm)]
    assert (vm.vm_state, vm.shelved_image_id, vm.launched) == (VmState.ACTIVE, "", True)


def test_an_unshelve_that_failed_stays_shelved_with_its_image() -> None:
    for attempt, again in ((1, True), (3, False)):
        plan = ended(
            operation(Action.UNSHELVE, attempt=attempt),
            placement(PlacementState.HELD),
            attempt=attempt,
            outcome=Outcome.FAILED,
            error=ERROR,
            clean=True,
        )
        assert any(isinstance(e, Requeue) for e in plan.effects) is again
        assert not any(isinstance(e, DropImage) for e in plan.effects)
        assert [(e.vm_state, e.fault, e.host) for e in plan.effects if isinstance(e, Vm)] == (
            [] if again else [(None, ERROR, "")]
        )


def test_the_last_word_of_the_old_host_lets_a_queued_unshelve_go() -> None:
    op = operation(Action.UNSHELVE, state=OperationState.QUEUED, host="")
    here = placement(PlacementState.LEAVING, operation_id="build")
    elsewhere = placement(PlacementState.LEAVING, operation_id="build", host="h2")
    gone = Gone(instance_uuid="i", epoch=1)
    plan = SyncPlan()
    plan_gone(plan, facts(op, here, elsewhere), "h1", gone)
    assert plan.effects == [Release("i", "h1", 1)]
    plan = SyncPlan()
    plan_gone(plan, facts(op, here), "h1", gone)
    assert plan.effects == [Release("i", "h1", 1), Schedule("op", 1)]


def test_a_slow_snapshot_waits_for_its_own_room() -> None:
    waiting = [operation(Action.SNAPSHOT, id="s1"), operation(Action.SHELVE, id="s2"), operation(Action.STOP, id="l1")]
    want = {"snapshot": 1, "lifecycle": 1}
    assert [op.id for op in choose_orders(waiting, [], [], want)] == ["l1", "s1"]

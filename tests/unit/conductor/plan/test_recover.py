from __future__ import annotations

import pytest

from conductor.effect import DropImage, Finish, Move, Release, Vm
from conductor.plan.recover import Situation, diagnose, options, plan_delete, plan_reset
from conductor.plan.sync import info
from drover import errors
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.objects.preview import Cure
from drover.states import Action, PlacementState, PowerState, VmState
from tests.unit.conductor.plan.rows import instance, later, operation, placement

ACTIVE = placement(PlacementState.ACTIVE)


def situation(*placements: Placement, busy: Operation | None = None, **changes: object) -> Situation:
    known = {"up", "fenced", "image_there", "elsewhere"}
    facts = {"up": frozenset({"h1"}), "fenced": frozenset(), "image_there": True}
    facts |= {key: value for key, value in changes.items() if key in known}
    it = instance(**{"vm_state": VmState.ERROR, **{k: v for k, v in changes.items() if k not in known}})
    return Situation(instance=it, busy=busy, placements=placements, now=later(10), **facts)  # type: ignore[arg-type]


def refused(s: Situation) -> dict[Cure, bool]:
    return {option.cure: bool(option.refused) for option in options(s)}


@pytest.mark.parametrize(
    ("power", "vm_state"),
    [
        (PowerState.RUNNING, VmState.ACTIVE),
        (PowerState.PAUSED, VmState.PAUSED),
        (PowerState.SHUTDOWN, VmState.STOPPED),
        (PowerState.CRASHED, VmState.STOPPED),
    ],
)
def test_reset_follows_what_its_host_shows(power: PowerState, vm_state: VmState) -> None:
    s = situation(ACTIVE, power_state=power, host="")
    assert not refused(s)[Cure.RESET]
    [vm] = plan_reset(s)
    assert isinstance(vm, Vm)
    assert (vm.vm_state, vm.host) == (vm_state, "h1")


@pytest.mark.parametrize(
    "s",
    [
        situation(ACTIVE, power_state=PowerState.UNKNOWN),
        situation(ACTIVE, power_state=PowerState.RUNNING, up=frozenset()),
        situation(ACTIVE, power_state=PowerState.RUNNING, fenced=frozenset({"h1"})),
        situation(ACTIVE, power_state=PowerState.RUNNING, vm_state=VmState.ACTIVE),
        situation(ACTIVE, power_state=PowerState.RUNNING, busy=operation(Action.STOP)),
        situation(ACTIVE, power_state=PowerState.RUNNING, epoch=2),
        situation(placement(PlacementState.PERMITTED), power_state=PowerState.RUNNING),
        situation(ACTIVE, placement(PlacementState.ACTIVE, host="h2"), power_state=PowerState.RUNNING),
        situation(power_state=PowerState.RUNNING),
    ],
)
def test_reset_is_refused_where_the_host_does_not_tell(s: Situation) -> None:
    assert refused(s)[Cure.RESET]


def test_a_retry_needs_that_nothing_can_be_left_anywhere() -> None:
    left = placement(PlacementState.LEAVING)
    assert not refused(situation())[Cure.RETRY]
    assert not refused(situation(left, fenced=frozenset({"h1"})))[Cure.RETRY]
    assert refused(situation(left))[Cure.RETRY]
    assert refused(situation(left, up=frozenset()))[Cure.RETRY]  # silence is no proof
    assert refused(situation(placement(PlacementState.RESERVED)))[Cure.RETRY]
    assert refused(situation(image_there=False))[Cure.RETRY]
    assert refused(situation(elsewhere=("h2",)))[Cure.RETRY]
    assert refused(situation(vm_state=VmState.SHELVED_OFFLOADED))[Cure.RETRY]
    assert refused(situation(busy=operation()))[Cure.RETRY]


def test_a_delete_leaves_a_record_of_everything_that_may_be_there() -> None:
    busy = operation(Action.SNAPSHOT, id="busy", params={"image_id": "x"})
    s = situation(
        ACTIVE,
        placement(PlacementState.RESERVED, host="h2"),
        placement(PlacementState.LEAVING, host="h3"),
        busy=busy,
        shelved_image_id="y",
    )
    effects = plan_delete(s, operation(Action.DELETE), info(errors.Superseded(action="delete", operation_id="op")))
    assert [(e.host, e.to) for e in effects if isinstance(e, Move)] == [("h1", PlacementState.LEAVING)]
    assert [e.host for e in effects if isinstance(e, Release)] == ["h2"]
    assert [e.operation_id for e in effects if isinstance(e, Finish)] == ["busy"]
    assert {e.image_id for e in effects if isinstance(e, DropImage)} == {"x", "y"}
    assert [e.deleted for e in effects if isinstance(e, Vm)] == [True]


def test_diagnosis() -> None:
    assert diagnose(situation(ACTIVE, vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING)) == ()
    for s, words in (
        (situation(vm_state=VmState.BUILDING), "no operation builds it"),
        (situation(vm_state=VmState.ACTIVE), "no host holds it"),
        (situation(ACTIVE, placement(PlacementState.PERMITTED, host="h2")), "More than one host"),
        (situation(ACTIVE, up=frozenset()), "silent"),
        (situation(ACTIVE, fenced=frozenset({"h1"})), "fenced"),
        (situation(placement(PlacementState.LEAVING)), "Clean-up is pending on h1"),
        (situation(busy=operation(queue_budget_s=1, run_budget_s=1)), "past its budgets"),
        (situation(busy=operation()), "ends within its budgets"),
        (situation(ACTIVE, host="h9", power_state=PowerState.RUNNING), "names host h9"),
    ):
        assert any(words in sentence for sentence in diagnose(s)), words

"""Every verb against every state it may meet, and what it changes when it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conductor.effect import AddImage, Anew, DropImage, Effect, Finish, Move, Release, Vm
from conductor.plan.verb import effective, image_to_fill, joins, plan_verb, refuse
from drover import errors
from drover.objects.catalog import Flavor, Image
from drover.objects.instance import Instance
from drover.states import VERBS, Action, OperationState, PlacementState, VmState, allowed
from tests.unit.conductor.plan.rows import T0, later, operation, placement

FLAVOR = Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=5)
IMAGE = Image(id="img", name="other")


def instance(vm_state: VmState = VmState.ACTIVE, **changes: object) -> Instance:
    it = Instance(
        uuid="i",
        name="vm",
        project_id="p",
        user_id="u",
        flavor=FLAVOR,
        image_id="base",
        vm_state=vm_state,
        host="h1",
        created_at=T0,
    )
    return replace(it, **changes)  # type: ignore[arg-type]


def test_no_verb_begins_from_a_state_that_the_table_does_not_name() -> None:
    for action in Action:
        for vm_state in VmState:
            if allowed(action, vm_state):
                refuse(action, {}, instance(vm_state), None, T0)
                continue
            with pytest.raises(errors.InvalidState) as caught:
                refuse(action, {}, instance(vm_state), None, T0)
            assert caught.value.kwargs["vm_state"] == vm_state


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("running", list(Action))
def test_only_a_delete_begins_beside_another_operation(action: Action, running: Action) -> None:
    busy = operation(running, id="busy")
    target = instance(min(VERBS[action].legal))
    if action in (Action.DELETE, Action.SOFT_DELETE):
        refuse(action, {}, target, busy, T0)
        return
    with pytest.raises(errors.InstanceBusy) as caught:
        refuse(action, {}, target, busy, later(7))
    assert (caught.value.kwargs["operation_id"], caught.value.kwargs["age_s"]) == ("busy", 7)


@pytest.mark.parametrize("action", list(Action))
def test_a_lock_keeps_every_verb_away(action: Action) -> None:
    with pytest.raises(errors.InstanceLocked):
        refuse(action, {}, instance(min(VERBS[action].legal), locked=True), None, T0)


@pytest.mark.parametrize("action", list(Action))
def test_what_works_on_a_host_needs_one(action: Action) -> None:
    target = instance(min(VERBS[action].legal), host="")
    if VERBS[action].places or action is Action.DELETE:
        refuse(action, {}, target, None, T0)
        return
    with pytest.raises(errors.InstanceNotPlaced):
        refuse(action, {}, target, None, T0)


def test_a_soft_reboot_asks_a_guest_that_runs() -> None:
    refuse(Action.REBOOT, {"type": "soft"}, instance(), None, T0)
    refuse(Action.REBOOT, {"type": "hard"}, instance(VmState.STOPPED), None, T0)
    with pytest.raises(errors.InvalidState):
        refuse(Action.REBOOT, {"type": "soft"}, instance(VmState.STOPPED), None, T0)


@pytest.mark.parametrize("vm_state", [s for s in VmState if s is not VmState.DELETED])
def test_a_delete_is_soft_only_where_it_can_be_taken_back(vm_state: VmState) -> None:
    target = instance(vm_state)
    soft = vm_state in VERBS[Action.SOFT_DELETE].legal
    expected = Action.SOFT_DELETE if soft else Action.DELETE
    assert effective(Action.DELETE, {}, target, 60.0) is expected
    assert effective(Action.DELETE, {"force": "true"}, target, 60.0) is Action.DELETE
    assert effective(Action.DELETE, {}, target, 0.0) is Action.DELETE
    assert effective(Action.DELETE, {}, replace(target, host=""), 60.0) is Action.DELETE
    assert effective(Action.STOP, {}, target, 60.0) is Action.STOP


@pytest.mark.parametrize("running", list(Action))
def test_who_asks_for_a_delete_gets_the_one_that_runs(running: Action) -> None:
    busy = operation(running)
    assert joins(Action.DELETE, busy) is (running is Action.DELETE)
    assert joins(Action.SOFT_DELETE, busy) is (running in (Action.DELETE, Action.SOFT_DELETE))
    assert not joins(Action.STOP, busy)
    assert not joins(Action.DELETE, None)


@pytest.mark.parametrize("running", list(Action))
@pytest.mark.parametrize("action", [Action.DELETE, Action.SOFT_DELETE])
def test_superseding_ends_what_runs_and_takes_the_image_it_was_to_fill(action: Action, running: Action) -> None:
    busy = operation(running, id="busy")
    new = plan_verb(operation(action, id="new"), instance(), busy, [placement(PlacementState.ACTIVE)], None)
    [finish] = [e for e in new.effects if isinstance(e, Finish)]
    assert (finish.operation_id, finish.state) == ("busy", OperationState.CANCELLED)
    assert finish.error is not None
    assert finish.error.code == "Superseded"
    assert (DropImage("img") in new.effects) is VERBS[running].uploads
    moved = [e for e in new.effects if isinstance(e, Move)]
    assert bool(moved) is (action is Action.DELETE), "what can be restored stays where it is"


def test_a_delete_gives_every_placement_up_and_goes_to_the_host_of_the_current_one() -> None:
    rows = [
        placement(PlacementState.LEAVING),
        placement(PlacementState.ACTIVE, host="h2", epoch=2),
        placement(PlacementState.RESERVED, host="h3", epoch=3),
    ]
    new = plan_verb(operation(Action.DELETE), instance(), None, rows, None)
    assert new.operation.host == "h2"
    assert [(type(e), e.host) for e in new.effects if isinstance(e, Move | Release)] == [(Move, "h2"), (Release, "h3")]


def test_a_shelved_instance_is_deleted_with_its_image_and_without_a_host() -> None:
    target = instance(VmState.SHELVED_OFFLOADED, host="", shelved_image_id="disk")
    new = plan_verb(operation(Action.DELETE, host=""), target, None, [], None)
    assert (new.operation.host, list(new.effects)) == ("", [DropImage("disk")])


@pytest.mark.parametrize(
    ("state", "waits"), [(None, False), (PlacementState.LEAVING, True), (PlacementState.PERMITTED, True)]
)
def test_an_unshelve_waits_until_nothing_of_the_instance_is_left(state: PlacementState | None, waits: bool) -> None:
    here = [placement(state)] if state else []
    target = instance(VmState.SHELVED_OFFLOADED, host="", shelved_image_id="disk")
    new = plan_verb(operation(Action.UNSHELVE, params={}), target, None, here, None)
    expected = OperationState.QUEUED if waits else OperationState.SCHEDULING
    assert (new.operation.state, new.operation.host, new.operation.dispatched_at) == (expected, "", None)
    assert new.operation.params == {"image_id": "disk"}
    assert list(new.effects) == [Anew("i")]


@pytest.mark.parametrize(
    ("vm_state", "power"), [(VmState.ACTIVE, None), (VmState.ERROR, None), (VmState.STOPPED, "off")]
)
def test_a_rebuild_changes_the_image_and_leaves_off_what_was_off(vm_state: VmState, power: str | None) -> None:
    new = plan_verb(operation(Action.REBUILD, params={}), instance(vm_state), None, [], IMAGE)
    assert new.operation.params.get("power") == power
    assert new.operation.params["image_id"] == "img"
    assert list(new.effects) == [Vm(instance_uuid="i", image=IMAGE)]


@pytest.mark.parametrize("action", [Action.SNAPSHOT, Action.SHELVE])
def test_what_uploads_makes_its_image_with_its_operation(action: Action) -> None:
    new = plan_verb(operation(action, params={}), instance(), None, [], IMAGE)
    assert list(new.effects) == [AddImage(IMAGE)]
    assert new.operation.params == {"image_id": "img"}


def test_a_rescue_names_its_image_and_plain_verbs_change_nothing() -> None:
    rescue = plan_verb(operation(Action.RESCUE, params={}), instance(), None, [], IMAGE)
    assert (rescue.operation.params, list(rescue.effects)) == ({"image_id": "img"}, [])
    none: list[Effect] = []
    stop = operation(Action.STOP)
    new = plan_verb(stop, instance(), None, [], None)
    assert (new.operation, list(new.effects)) == (stop, none)


def test_an_image_to_fill_needs_what_the_instance_has() -> None:
    base = Image(id="base", name="x", architecture="aarch64", virt_type="kvm", min_memory_mib=256, min_disk_gib=1)
    made = image_to_fill(instance(), base, "new", "")
    assert (made.name, made.architecture, made.virt_type) == ("vm-shelved", "aarch64", "kvm")
    assert (made.min_memory_mib, made.min_disk_gib) == (256, 5)
    assert image_to_fill(instance(), None, "new", "mine").name == "mine"

"""What single verbs promise beyond what holds for each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.operations.token import Reason
from drover import errors
from drover.objects.sync import Outcome
from drover.states import Action, PowerState, VmState
from tests.contract.virt.spec import make_order, make_spec
from tests.unit.agent.hypervisor import Killed
from tests.unit.agent.scene import Scene, Script, no_watch


def kill() -> None:
    raise Killed


def fails_at(scene: Scene, point: str, error: errors.DroverError) -> None:
    def act() -> None:
        raise error

    scene.script = Script(point, act)


@pytest.mark.parametrize("action", [Action.STOP, Action.REBUILD, Action.SHELVE, Action.SOFT_DELETE])
@pytest.mark.parametrize("params", [{}, {"type": "hard"}])
def test_a_hard_stop_does_not_ask(action: Action, params: dict[str, str]) -> None:
    scene = Scene(action, VmState.ACTIVE, **params)
    scene.live()
    assert scene.driver.patience_s == [0.0 if params else 60.0]


@pytest.mark.parametrize("vm_state", [VmState.ACTIVE, VmState.STOPPED])
def test_rebuilt_off(vm_state: VmState) -> None:
    scene = Scene(Action.REBUILD, vm_state, power="off")
    result = scene.live()
    assert result is not None
    assert (result.outcome, result.power_state) == (Outcome.SUCCEEDED, PowerState.SHUTDOWN)
    assert not scene.machine.on
    assert scene.machine.disk is not None
    assert not scene.machine.disk.used


@pytest.mark.parametrize("journal", ["kept", "lost"])
def test_a_rebuilt_disk_that_was_used_is_never_replaced_again(journal: str) -> None:
    """Also by an order that comes again when everything was done, and the guest was switched off since."""
    scene = Scene(Action.REBUILD, VmState.ACTIVE)
    scene.script = Script("rebuild.result", kill)
    scene.dies()
    disk = scene.machine.disk
    assert disk is not None
    assert disk.used
    assert scene.machine.guest is not None
    scene.machine.guest = replace(scene.machine.guest, power_state=PowerState.SHUTDOWN)
    if journal == "lost":
        scene.lose_journal()
    result = scene.live()
    assert result is not None
    assert result.outcome is Outcome.SUCCEEDED
    assert scene.machine.disk is disk


def test_an_image_that_cannot_be_had_leaves_the_guest_running() -> None:
    for action in (Action.REBUILD, Action.RESCUE):
        scene = Scene(action, VmState.ACTIVE)
        fails_at(scene, f"{action}.image.done", errors.ImageFetchFailed(image="x", detail="gone"))
        result = scene.live()
        assert result is not None
        assert result.outcome is Outcome.FAILED
        assert scene.machine.on
        assert scene.driver.patience_s == []


@pytest.mark.parametrize(("action", "vm_state"), [(Action.RESCUE, VmState.RESCUED), (Action.UNRESCUE, VmState.ACTIVE)])
def test_what_runs_as_it_should_is_left_alone(action: Action, vm_state: VmState) -> None:
    scene = Scene(action, vm_state)
    result = scene.live()
    assert result is not None
    assert {step.outcome for step in result.steps[1:]} == {"skipped"}
    assert (scene.machine.on, scene.driver.patience_s, scene.machine.boots) == (True, [], 0)


@pytest.mark.parametrize("action", [Action.START, Action.RESTORE])
def test_a_guest_that_a_rescue_left_behind_starts_from_its_own_disk(action: Action) -> None:
    scene = Scene(action, VmState.RESCUED)
    assert scene.machine.guest is not None
    scene.machine.guest = replace(scene.machine.guest, power_state=PowerState.SHUTDOWN)
    scene.live()
    assert scene.machine.guest.power_state is PowerState.RUNNING
    assert (scene.machine.guest.rescue, scene.machine.rescue_disk) == (False, False)


@pytest.mark.parametrize("vm_state", [VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED])
def test_a_reboot_of_what_does_not_run_boots_it(vm_state: VmState) -> None:
    """Even when it was asked to be soft: nobody is there to obey."""
    scene = Scene(Action.REBOOT, vm_state, type="soft")
    scene.live()
    assert scene.machine.guest is not None
    assert (scene.machine.guest.power_state, scene.machine.guest.saved, scene.machine.boots) == (
        PowerState.RUNNING,
        False,
        1,
    )


@pytest.mark.parametrize(("vm_state", "on"), [(VmState.ACTIVE, True), (VmState.PAUSED, True), (VmState.STOPPED, False)])
@pytest.mark.parametrize("killed", [False, True])
def test_a_shelve_that_fails_brings_back_only_what_ran(vm_state: VmState, on: bool, killed: bool) -> None:
    """Also when the agent died after the stop, since the journal knows."""
    scene = Scene(Action.SHELVE, vm_state)
    if killed:
        scene.script = Script("shelve.snapshot", kill)
        scene.dies()
    fails_at(scene, "shelve.upload.done", errors.ImageUploadFailed(image="x", detail="no"))
    result = scene.live()
    assert result is not None
    assert result.outcome is Outcome.FAILED
    assert result.power_state is PowerState.UNKNOWN
    assert [(s.name, s.outcome) for s in result.steps][-1] == ("undo", "undone")
    assert scene.machine.on is on
    assert scene.machine.snapshots == set()


def test_nothing_is_started_again_by_a_host_that_may_be_cut_off() -> None:
    scene = Scene(Action.SHELVE, VmState.ACTIVE)
    scene.alive = False
    fails_at(scene, "shelve.upload", errors.ImageUploadFailed(image="x", detail="no"))
    result = scene.live()
    assert result is not None
    assert [(s.name, s.outcome) for s in result.steps][-1] == ("undo", "failed")
    assert not scene.machine.on
    assert scene.machine.snapshots == set()


def test_a_paused_guest_that_was_not_stopped_yet_stays_paused() -> None:
    scene = Scene(Action.SHELVE, VmState.PAUSED)
    scene.script = Script("shelve.stop", lambda: scene.cancel(Reason.DROPPED))
    assert scene.live() is None
    assert scene.machine.guest is not None
    assert scene.machine.guest.power_state is PowerState.PAUSED


@pytest.mark.parametrize("action", [Action.SHELVE, Action.RESCUE])
def test_a_delete_that_supersedes_starts_nothing(action: Action) -> None:
    scene = Scene(action, VmState.ACTIVE)
    scene.script = Script(f"{action}.stop.done", lambda: scene.cancel(Reason.SUPERSEDED))
    assert scene.live() is None
    assert not scene.machine.on


@pytest.mark.parametrize("action", [Action.SNAPSHOT, Action.SHELVE])
def test_a_copy_whose_order_does_not_come_back_is_discarded(action: Action) -> None:
    scene = Scene(action, VmState.ACTIVE)
    scene.script = Script(f"{action}.upload", kill)
    scene.dies()
    assert scene.machine.snapshots
    scene.live(make_order(Action.STOP, make_spec()))
    assert scene.machine.snapshots == set()


@pytest.mark.parametrize("at", ["rescue.disk.done", "rescue.define"])
def test_a_rescue_disk_whose_order_does_not_come_back_is_discarded(at: str) -> None:
    scene = Scene(Action.RESCUE, VmState.ACTIVE)
    scene.script = Script(at, kill)
    scene.dies()
    assert scene.machine.rescue_disk
    scene.live(make_order(Action.START, make_spec()))
    assert not scene.machine.rescue_disk


def test_a_copy_is_discarded_when_the_hypervisor_answers_again() -> None:
    scene = Scene(Action.SNAPSHOT, VmState.ACTIVE)
    tried: list[str] = []

    def gone_for_a_while(number: int, when: str) -> None:
        if when == "before" and number >= 3 and len(tried) < 5:
            tried.append(when)
            raise errors.DriverUnavailable(detail="test")

    def fail() -> None:
        scene.watch = no_watch
        raise errors.ImageUploadFailed(image="x", detail="no")

    scene.script = Script("snapshot.upload.done", fail)
    scene.watch = gone_for_a_while
    result = scene.live()
    assert result is not None
    assert result.outcome is Outcome.FAILED
    assert len(tried) == 5
    assert scene.machine.snapshots == set()


@pytest.mark.parametrize(
    ("action", "field"), [(Action.SNAPSHOT, "upload"), (Action.SHELVE, "upload"), (Action.RESCUE, "rescue_image")]
)
def test_an_order_without_what_it_needs(action: Action, field: str) -> None:
    scene = Scene(action, VmState.ACTIVE)
    scene.order = replace(scene.order, **{field: None})  # type: ignore[arg-type]
    result = scene.live()
    assert result is not None
    assert result.error is not None
    assert result.error.code == "BadRequest"
    scene.check_taken_back()

"""Which answers a race or a fault explains, and which are violations."""

from __future__ import annotations

import pytest

from drover import errors
from drover.burnin import judge
from drover.burnin.plan import Change, Move, Seen
from drover.objects.operation import ErrorInfo
from drover.states import Action, OperationState, VmState
from tests.unit.drover.burnin.sample import NOW, instance, operation

ACTIVE = Seen(uuid="a", name="na", vm_state=VmState.ACTIVE)
STOP = Move(verb=Action.STOP, target=ACTIVE)


def busy(action: str) -> errors.InstanceBusy:
    return errors.InstanceBusy(instance="na", action=action, operation_id="op1", age_s=1, state="running")


def invalid(vm_state: str) -> errors.InvalidState:
    return errors.InvalidState(action="stop", instance="na", vm_state=vm_state, allowed="active")


@pytest.mark.parametrize(
    ("error", "raced", "stale", "explained"),
    [
        (busy("pause"), True, False, True),
        (busy("pause"), False, False, False),  # nobody had begun a pause
        (busy("start"), False, False, True),  # Drover starts what should run
        (busy("pause"), True, True, False),  # that pause was over
        (invalid("paused"), True, False, True),
        (invalid("paused"), False, False, False),
        (invalid("stopped"), False, False, True),  # a guest may end at any time
        (invalid("active"), True, False, False),  # which is legal
        (errors.InstanceNotFound(ref="a"), True, False, True),
        (errors.InstanceNotFound(ref="a"), False, False, False),
        (errors.InstanceLocked(instance="na"), True, False, True),
        (errors.InstanceLocked(instance="na"), False, False, False),
        (errors.InstanceNotPlaced(action="stop", instance="na"), False, False, False),
        (errors.BadInput(reason="no"), True, False, False),
        (errors.DroverError(detail="?"), True, False, False),
    ],
)
def test_refusals(error: errors.DroverError, raced: bool, stale: bool, explained: bool) -> None:
    why = judge.unexplained_refusal(error, STOP, raced=raced, stale=stale)
    assert (why == "") is explained, why


def test_a_lock_and_a_failed_build_explain_their_refusals() -> None:
    locked = Seen(uuid="a", name="na", vm_state=VmState.ACTIVE, locked=True)
    failed = Seen(uuid="a", name="na", vm_state=VmState.ERROR)
    refused = judge.unexplained_refusal
    assert not refused(errors.InstanceLocked(instance="na"), Move(verb=Change.RENAME, target=locked), raced=False)
    unplaced = errors.InstanceNotPlaced(action="rebuild", instance="na")
    assert not refused(unplaced, Move(verb=Action.REBUILD, target=failed), raced=False)


def test_a_soft_reboot_is_legal_in_active_only() -> None:
    soft = Move(verb=Action.REBOOT, target=ACTIVE, params={"type": "soft"})
    assert not judge.unexplained_refusal(invalid("stopped"), soft, raced=False)
    assert judge.unexplained_refusal(invalid("active"), soft, raced=False)


def test_a_build_is_refused_for_want_of_addresses_only() -> None:
    build = Move(verb=Action.BUILD)
    assert not judge.unexplained_refusal(errors.NoAddresses(network="n", free=0, wanted=1), build, raced=False)
    assert judge.unexplained_refusal(errors.FlavorNotFound(ref="f"), build, raced=False)


@pytest.mark.parametrize(
    ("state", "code", "faults", "explained"),
    [
        (OperationState.SUCCEEDED, "", False, True),
        (OperationState.CANCELLED, "Superseded", False, True),
        (OperationState.CANCELLED, "OperationCancelled", False, False),
        (OperationState.FAILED, "", True, False),
        (OperationState.FAILED, "NoValidHost", False, True),
        (OperationState.FAILED, "HostSilent", False, False),
        (OperationState.FAILED, "HostSilent", True, True),
        (OperationState.FAILED, "Internal", True, False),
        (OperationState.RUNNING, "", True, False),
    ],
)
def test_ends(state: OperationState, code: str, faults: bool, explained: bool) -> None:
    why = judge.unexplained_end(operation(Action.STOP, state, code), faults=faults)
    assert (why == "") is explained, why


def test_a_guest_that_was_found_off_explains_a_failure_and_one_of_another_epoch_does_not() -> None:
    for reason, explained in (("it is off, there is no memory to save", True), ("its epoch is 3", False)):
        error = ErrorInfo(code="GuestConflict", message="", params={"reason": reason})
        ended = operation(Action.SUSPEND, OperationState.FAILED, error=error)
        assert (judge.unexplained_end(ended, faults=True) == "") is explained


def test_an_end_at_no_time_is_none() -> None:
    assert judge.unexplained_end(operation(Action.STOP, OperationState.SUCCEEDED, finished_at=None), faults=False)


def test_what_is_placed_has_time_for_another_host() -> None:
    def limit_s(action: Action, attempt: int) -> float:
        running = operation(action, OperationState.RUNNING, attempt=attempt, queue_budget_s=10.0, run_budget_s=20.0)
        return judge.budget_s(running) - judge.GRACE_S

    assert (limit_s(Action.STOP, 1), limit_s(Action.BUILD, 1), limit_s(Action.BUILD, 2)) == (30.0, 60.0, 90.0)


@pytest.mark.parametrize(
    ("verb", "after", "explained"),
    [
        (Action.STOP, VmState.STOPPED, True),
        (Action.STOP, VmState.ACTIVE, True),  # whoever started it: it should run
        (Action.STOP, VmState.PAUSED, False),
        (Action.PAUSE, VmState.PAUSED, True),
        (Action.PAUSE, VmState.STOPPED, True),  # its guest ended
        (Action.PAUSE, VmState.ACTIVE, False),
        (Action.DELETE, VmState.DELETED, True),
        (Action.DELETE, VmState.ACTIVE, False),
        (Action.SNAPSHOT, VmState.ACTIVE, True),
        (Action.SNAPSHOT, VmState.ERROR, False),
        (Action.SHELVE, VmState.ACTIVE, False),
        (Change.RENAME, VmState.PAUSED, True),
    ],
)
def test_states_after_a_verb(verb: Action | Change, after: VmState, explained: bool) -> None:
    why = judge.unexplained_state(Move(verb=verb, target=ACTIVE), instance("a", vm_state=after, launched_at=NOW))
    assert (why == "") is explained, why


def test_only_a_request_that_is_not_understood_shows_an_older_fleet() -> None:
    assert judge.is_unknown_verb(errors.BadRequest(method="instance_action", reason="argument action: Invalid enum"))
    assert not judge.is_unknown_verb(errors.BadInput(reason="reboot takes no type=x"))

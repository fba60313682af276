"""Whether an answer is one that the run's own races and faults explain: pure, and strict."""

from __future__ import annotations

from drover import errors
from drover.burnin.plan import Move, Seen
from drover.objects.instance import Instance
from drover.objects.operation import ErrorInfo, Operation
from drover.states import FINAL_STATES, VERBS, Action, OperationState, VmState

__all__ = ["GRACE_S", "budget_s", "is_unknown_verb", "unexplained_end", "unexplained_refusal", "unexplained_state"]

#: seconds past an operation's budgets that its conductor has to notice, with parts of it dead meanwhile
GRACE_S = 90.0

#: what an instance may become of itself: its guest ended, or was started again by its restart policy
_BY_ITSELF = frozenset({VmState.ACTIVE, VmState.STOPPED})
#: operations that Drover begins of itself, on instances that should run or were deleted for a while
_BY_DROVER = frozenset({Action.START.value, Action.DELETE.value})

#: what an operation may fail with because a part of the fleet was hit in the middle of it
_HIT = frozenset(
    {
        errors.BudgetExceeded.code,
        errors.ClaimRefused.code,
        errors.DriverError.code,
        errors.DriverTimeout.code,
        errors.DriverUnavailable.code,
        errors.HostSilent.code,
        errors.ImageFetchFailed.code,
        errors.ImageUploadFailed.code,
        errors.NoValidHost.code,
        errors.OutcomeUnknown.code,
    }
)
#: how a driver says that a guest has ended, which guests do at any time
_OFF = "it is off"
#: what it may fail with in a fleet where nothing is broken: it is full
_FULL = frozenset({errors.NoValidHost.code, errors.ClaimRefused.code})


def is_unknown_verb(error: errors.DroverError) -> bool:
    """Whether the fleet is of a release that does not know the verb at all."""
    return type(error).code in (errors.BadRequest.code, errors.UnknownMethod.code)


def unexplained_refusal(error: errors.DroverError, move: Move, *, raced: bool, stale: bool = False) -> str:
    """Why *move* should not have been refused so; empty when it may be.

    :param raced: another client was at the instance between the choice and the answer.
    :param stale: the operation that the error names had been seen to have ended before the request was sent.
    """
    if move.target is None:
        return "" if isinstance(error, errors.NoAddresses) else "nothing of the request explains it"
    if isinstance(error, errors.InstanceBusy):
        return _busy(error, raced=raced, stale=stale)
    if isinstance(error, errors.InvalidState):
        return _invalid(error, move, raced=raced)
    explained = {
        errors.InstanceLocked: move.target.locked or raced,
        errors.InstanceNotFound: raced,
        errors.InstanceNotPlaced: raced or move.target.vm_state is VmState.ERROR,
    }
    if any(isinstance(error, kind) and explains for kind, explains in explained.items()):
        return ""
    return f"it was {_words(move.target)}, and nobody else was at it"


def _words(seen: Seen) -> str:
    return f"{seen.vm_state}{' and locked' if seen.locked else ''}"


def _busy(error: errors.InstanceBusy, *, raced: bool, stale: bool) -> str:
    if stale:
        return "the operation that it names had ended before"
    if not raced and error.kwargs.get("action") not in _BY_DROVER:
        return "nobody had begun anything on it"
    return ""


def _invalid(error: errors.InvalidState, move: Move, *, raced: bool) -> str:
    found = str(error.kwargs.get("vm_state", ""))
    legal = VERBS[move.verb].legal if isinstance(move.verb, Action) else frozenset[VmState]()
    if move.params.get("type") == "soft":
        legal = frozenset({VmState.ACTIVE})
    if found in legal:
        return "the state that it names is a legal one"
    if not raced and found not in _BY_ITSELF:
        return f"it was {move.target.vm_state if move.target else '?'}, and nobody else was at it"
    return ""


def unexplained_end(operation: Operation, *, faults: bool) -> str:
    """Why *operation*, which has ended, should not have ended so; empty when it may.

    :param faults: the run breaks parts of the fleet.
    """
    if operation.state not in FINAL_STATES:
        return f"still {operation.state}"
    if operation.finished_at is None:
        return "it ended at no time"
    if operation.state is OperationState.SUCCEEDED:
        return ""
    if operation.error is None or not operation.error.code:
        return "it ended without a reason"
    if operation.state is OperationState.CANCELLED:
        return "" if operation.error.code == errors.Superseded.code else "nobody cancelled it"
    if operation.error.code in (_HIT if faults else _FULL) or _found_off(operation.error):
        return ""
    return "nothing that was done to the fleet explains it"


def _found_off(error: ErrorInfo) -> bool:
    return error.code == errors.GuestConflict.code and str(error.params.get("reason", "")).startswith(_OFF)


def budget_s(operation: Operation) -> float:
    """Seconds within which an operation has ended, however it went: what is placed may be tried on several hosts."""
    tries = operation.attempt + 1 if VERBS[operation.action].places else 1
    return (operation.queue_budget_s + operation.run_budget_s) * tries + GRACE_S


def unexplained_state(move: Move, after: Instance) -> str:
    """Why an instance is not what *move* made of it, when nobody else was at it; empty when it is."""
    if not isinstance(move.verb, Action):
        return ""
    end = VERBS[move.verb].end
    if end is None and move.target is not None:
        end = move.target.vm_state
    ends = {VmState.DELETED, VmState.SOFT_DELETED} if move.verb is Action.DELETE else {end}
    if after.vm_state in ends:
        return ""
    if end in _BY_ITSELF and after.vm_state in _BY_ITSELF:
        return ""  # its guest may have ended since, or been started again
    if end is VmState.PAUSED and after.vm_state is VmState.STOPPED:
        return ""
    return f"it is {after.vm_state} after a {move.label} that succeeded"

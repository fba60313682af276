"""Start, stop and reboot of a guest that is here."""

from __future__ import annotations

from agent.operations.step import Attempt, Step
from drover import errors
from drover.objects.guest import GuestState
from drover.states import PowerState

__all__ = ["REBOOT", "START", "STOP"]

#: of a stop's budget, kept for cutting the power of a guest that does not obey
_POWER_CUT_S = 10.0
#: between tries to ask a hypervisor that does not answer
_ASK_AGAIN_S = 1.0


def _find(attempt: Attempt) -> None:
    attempt.power_state = attempt.guest().power_state


def _network(attempt: Attempt) -> None:
    """Rules and addresses do not survive a boot of the host."""
    attempt.driver.create_network(attempt.spec)


def _start(attempt: Attempt) -> None:
    attempt.leave.lease()
    attempt.driver.start(attempt.uuid)
    attempt.power_state = PowerState.RUNNING


def _stop(attempt: Attempt) -> None:
    patience_s = min(attempt.stop_timeout_s, max(0.0, attempt.token.remaining_s() - _POWER_CUT_S))
    attempt.driver.stop(attempt.uuid, patience_s, attempt.token)
    attempt.power_state = PowerState.SHUTDOWN


def _reboot(attempt: Attempt) -> None:
    """Once, however often the agent dies: the stamp in the guest tells whether it was issued.

    A death between stamp and reboot counts as issued: a reboot too few is repeated by its user, one too many
    would interrupt a guest that nobody meant.
    """
    operation_id = attempt.order.operation_id
    guest = _ask(attempt) if attempt.resumed else attempt.guest()
    if guest.operation_id != operation_id:
        attempt.leave.lease()
        try:
            attempt.driver.reboot(attempt.uuid, operation_id, hard=attempt.order.params.get("type") == "hard")
        except errors.DriverError:
            guest = _ask(attempt)
            if guest.operation_id != operation_id:
                raise  # not issued: it failed, and nothing happened
        else:
            attempt.power_state = PowerState.RUNNING
            return
    if guest.power_state is not PowerState.RUNNING:
        attempt.leave.lease()
        attempt.driver.start(attempt.uuid)  # a hard reboot that was cut off between off and on
    attempt.power_state = PowerState.RUNNING


def _ask(attempt: Attempt) -> GuestState:
    """The guest, however long the hypervisor takes to answer within the budget.

    :raises errors.OutcomeUnknown: it never answered, and the verb may have happened.
    """
    while True:
        try:
            return attempt.guest()
        except (errors.DriverUnavailable, errors.DriverTimeout) as exc:
            if attempt.token.wait(_ASK_AGAIN_S):
                raise errors.OutcomeUnknown(action=attempt.order.action.value, detail=exc.message) from exc


START = (Step("find", _find), Step("network", _network), Step("start", _start))
STOP = (Step("find", _find), Step("stop", _stop))
REBOOT = (Step("reboot", _reboot),)

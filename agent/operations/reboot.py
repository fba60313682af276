"""Reboot: one step, since the stamp in the guest is set and the reboot issued by one call of the driver."""

from __future__ import annotations

from agent.operations.step import ACTIVE_POWER, Attempt, Step
from drover import errors
from drover.objects.guest import GuestState
from drover.states import PowerState

__all__ = ["REBOOT"]

#: between tries to ask a hypervisor that does not answer
_ASK_AGAIN_S = 1.0


def _reboot(attempt: Attempt) -> None:
    """Once, however often the agent dies: the stamp in the guest tells whether it was issued.

    A death between stamp and reboot counts as issued: a reboot too few is repeated by its user, one too many
    would interrupt a guest that nobody meant.
    """
    operation_id = attempt.order.operation_id
    guest = _ask(attempt) if attempt.resumed else attempt.guest()
    if guest.operation_id != operation_id:
        hard = _prepare(attempt, guest)
        attempt.leave.lease()
        try:
            attempt.driver.reboot(attempt.uuid, operation_id, hard=hard)
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


def _prepare(attempt: Attempt, guest: GuestState) -> bool:
    """Whether the reboot is a hard one, which a guest that does not run cannot choose.

    A paused or suspended guest loses its memory here, before the stamp: cut off now, it is found off and rebooted.
    """
    if guest.power_state is PowerState.PAUSED or guest.saved:
        attempt.driver.stop(attempt.uuid, 0.0, attempt.token)
    if guest.power_state not in ACTIVE_POWER:
        attempt.driver.create_network(attempt.spec)  # rules and addresses do not survive a boot of the host
    return guest.power_state is not PowerState.RUNNING or attempt.order.params.get("type") == "hard"


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


REBOOT = (Step("reboot", _reboot),)

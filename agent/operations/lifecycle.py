"""Power and processors of a guest that is here: a few steps each, told by the guest's own state."""

from __future__ import annotations

from agent.operations import guest
from agent.operations.guest import FIND, NETWORK
from agent.operations.step import Attempt, Step
from drover.states import PowerState

__all__ = ["PAUSE", "RESTORE", "RESUME", "SOFT_DELETE", "START", "STOP", "SUSPEND", "UNPAUSE"]


def _define(attempt: Attempt) -> None:
    """Plain, if a rescue left it otherwise: one that was cut off for good, or a guest that was deleted in rescue."""
    if attempt.guest().rescue:
        attempt.driver.define(attempt.spec, attempt.order.operation_id)


def _pause(attempt: Attempt) -> None:
    attempt.driver.pause(attempt.uuid)
    attempt.power_state = PowerState.PAUSED


def _unpause(attempt: Attempt) -> None:
    attempt.leave.lease()  # it starts no domain, but a host that is cut off sets nothing going
    attempt.driver.unpause(attempt.uuid)
    attempt.power_state = PowerState.RUNNING


def _suspend(attempt: Attempt) -> None:
    attempt.driver.suspend(attempt.uuid, attempt.token)
    attempt.power_state = PowerState.SHUTDOWN


START = RESTORE = (FIND, NETWORK, Step("define", _define), guest.START)
STOP = SOFT_DELETE = (FIND, guest.STOP)
PAUSE = (FIND, Step("pause", _pause))
UNPAUSE = (FIND, Step("unpause", _unpause))
SUSPEND = (FIND, Step("suspend", _suspend))
RESUME = (FIND, NETWORK, guest.START)

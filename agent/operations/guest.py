"""Steps that many verbs share, on a guest that is here."""

from __future__ import annotations

from agent.operations.step import ACTIVE_POWER, Attempt, Step
from agent.operations.token import Reason
from drover import errors
from drover.states import PowerState

__all__ = [
    "FIND",
    "NETWORK",
    "START",
    "STOP",
    "find",
    "find_and_remember",
    "start_again",
    "stop",
]

#: of a stop's budget, kept for cutting the power of a guest that does not obey
_POWER_CUT_S = 10.0
#: the fact that the guest had a running process when the order found it
_RAN = "ran"


def find(attempt: Attempt) -> None:
    attempt.power_state = attempt.guest().power_state


def find_and_remember(attempt: Attempt) -> None:
    """Also whether the guest runs, before anything is done to it: :func:`start_again` asks for that.

    A later incarnation finds the answer in the journal; without a journal the guest stays off.
    """
    find(attempt)
    attempt.made = True
    if attempt.power_state in ACTIVE_POWER:
        attempt.facts.add(_RAN)


def network(attempt: Attempt) -> None:
    """Rules and addresses do not survive a boot of the host."""
    attempt.driver.create_network(attempt.spec)


def start(attempt: Attempt) -> None:
    attempt.leave.lease()
    attempt.driver.start(attempt.uuid)
    attempt.power_state = PowerState.RUNNING


def stop(attempt: Attempt) -> None:
    """By ACPI, and after a time by cutting the power; at once when the order says so."""
    patience_s = min(attempt.stop_timeout_s, max(0.0, attempt.token.remaining_s() - _POWER_CUT_S))
    hard = attempt.order.params.get("type") == "hard"
    attempt.driver.stop(attempt.uuid, 0.0 if hard else patience_s, attempt.token)
    attempt.power_state = PowerState.SHUTDOWN


def start_again(attempt: Attempt) -> None:
    """Undo of a stop: on, if this order found it on. Not for a delete, which would switch it off at once.

    :raises errors.OperationFailed: the host may be cut off, and starts nothing.
    """
    if _RAN not in attempt.facts or attempt.token.reason is Reason.SUPERSEDED:
        return
    guest = attempt.driver.get_guest(attempt.uuid)
    if guest is None or guest.epoch != attempt.order.epoch or guest.power_state in ACTIVE_POWER:
        return
    if not attempt.leave.alive():
        raise errors.OperationFailed(action="starting the guest again", reason="no conductor answers this host")
    attempt.driver.start(attempt.uuid)


FIND = Step("find", find)
NETWORK = Step("network", network)
START = Step("start", start)
STOP = Step("stop", stop)

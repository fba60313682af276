"""Rescue: boot another image beside the guest's own disk; unrescue: back to the guest's own."""

from __future__ import annotations

from agent.operations.guest import NETWORK, START, find_and_remember, start_again, stop
from agent.operations.step import ACTIVE_POWER, Attempt, Step
from drover.states import PowerState

__all__ = ["RESCUE", "UNRESCUE"]


def _find(attempt: Attempt) -> None:
    guest = attempt.guest()
    if guest.rescue and guest.power_state is PowerState.RUNNING:
        attempt.settled, attempt.power_state = True, guest.power_state
    else:
        find_and_remember(attempt)


def _image(attempt: Attempt) -> None:
    """While the guest runs: an image that cannot be had leaves it as it is."""
    attempt.image_path = attempt.backend.images.ensure(attempt.rescue_image, attempt.token)


def _disk(attempt: Attempt) -> None:
    attempt.driver.create_rescue_disk(attempt.spec, attempt.image_path, attempt.token)


def _define(attempt: Attempt) -> None:
    attempt.driver.define(attempt.spec, attempt.order.operation_id, rescue=True)


def _plain(attempt: Attempt) -> None:
    """Undo: the guest's own disk again. Defining it so takes the rescue disk away."""
    guest = attempt.driver.get_guest(attempt.uuid)
    if guest is None or guest.epoch != attempt.order.epoch:
        return
    if guest.rescue and guest.power_state in ACTIVE_POWER:
        attempt.driver.stop(attempt.uuid, 0.0, attempt.token)  # a start that failed after its effect
    attempt.driver.define(attempt.spec, attempt.order.operation_id)


def _find_in_rescue(attempt: Attempt) -> None:
    guest = attempt.guest()
    attempt.power_state = guest.power_state
    attempt.settled = not guest.rescue and guest.power_state is PowerState.RUNNING


def _define_plain(attempt: Attempt) -> None:
    attempt.driver.define(attempt.spec, attempt.order.operation_id)


RESCUE = (
    Step("find", _find),
    Step("image", _image),
    Step("stop", stop, undo=start_again),
    Step("disk", _disk, undo=_plain),
    NETWORK,
    Step("define", _define),
    START,
)
UNRESCUE = (Step("find", _find_in_rescue), Step("stop", stop), Step("define", _define_plain), NETWORK, START)

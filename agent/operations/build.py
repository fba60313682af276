"""Build: ``claim → image → disk → network → config → define → permit → start``.

All before ``permit`` is reversible, so it may begin on a cast that nobody confirmed.  Such a cast may also be
stale and name a guest that has long been built: what is found here is left as it is, and only what this order
made is ever undone.
"""

from __future__ import annotations

from agent.claims import wanted
from agent.operations.step import ACTIVE_POWER, Attempt, Step
from drover import errors
from drover.states import PowerState

__all__ = ["BUILD"]


def _claim(attempt: Attempt) -> None:
    """See what is here already, then whether there is room."""
    spec = attempt.spec
    guest = attempt.driver.get_guest(attempt.uuid)
    if guest is not None and guest.epoch != attempt.order.epoch:
        if guest.epoch > attempt.order.epoch or guest.power_state in ACTIVE_POWER:
            raise errors.GuestConflict(instance=attempt.uuid, reason=f"a guest of epoch {guest.epoch} is here")
        _permit(attempt)  # undoing this build would remove what an earlier one left: only a record may lead to that
    elif guest is not None and guest.power_state in (PowerState.RUNNING, PowerState.PAUSED):
        # It could only start with a permit, so it was built: by this order before a restart, or long ago.
        attempt.settled, attempt.power_state = True, guest.power_state
        attempt.claims.keep(attempt.uuid, wanted(spec))
        return
    elif guest is not None and not attempt.resumed:
        # Built, and off by now, or our journal was lost: the conductor knows, so it is asked before a step is done.
        _permit(attempt)
        return
    attempt.made = True
    attempt.claims.check(attempt.uuid, wanted(spec))


def _remove(attempt: Attempt) -> None:
    attempt.driver.remove(attempt.uuid, attempt.order.epoch)
    attempt.claims.release(attempt.uuid)
    attempt.removed = True


def _image(attempt: Attempt) -> None:
    attempt.image_path = attempt.backend.images.ensure(attempt.spec.image, attempt.token)


def _disk(attempt: Attempt) -> None:
    attempt.driver.create_disk(attempt.spec, attempt.image_path, attempt.token)


def _network(attempt: Attempt) -> None:
    attempt.driver.create_network(attempt.spec)


def _config(attempt: Attempt) -> None:
    attempt.driver.create_config(attempt.spec)


def _define(attempt: Attempt) -> None:
    attempt.driver.define(attempt.spec, attempt.order.operation_id)


def _permit(attempt: Attempt) -> None:
    if not attempt.permitted:
        attempt.leave.permit()
        attempt.permitted = True
        attempt.claims.keep(attempt.uuid, wanted(attempt.spec))


def _start(attempt: Attempt) -> None:
    attempt.leave.lease()
    attempt.driver.start(attempt.uuid)
    attempt.power_state = PowerState.RUNNING


BUILD = (
    Step("claim", _claim, undo=_remove),
    Step("image", _image),
    Step("disk", _disk),
    Step("network", _network),
    Step("config", _config),
    Step("define", _define),
    Step("permit", _permit),
    Step("start", _start),
)

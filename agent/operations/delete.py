"""Delete: ``stop → remove``. Also what a ``leaving`` record asks for."""

from __future__ import annotations

from agent.operations.step import ACTIVE_POWER, Attempt, Step

__all__ = ["DELETE"]


def _stop(attempt: Attempt) -> None:
    """Cut the power; a guest of a later epoch is another one's."""
    guest = attempt.driver.get_guest(attempt.uuid)
    if guest is not None and guest.epoch <= attempt.order.epoch and guest.power_state in ACTIVE_POWER:
        attempt.driver.stop(attempt.uuid, 0, attempt.token)


def _remove(attempt: Attempt) -> None:
    attempt.driver.remove(attempt.uuid, attempt.order.epoch)
    attempt.claims.release(attempt.uuid)
    attempt.removed = True


DELETE = (Step("stop", _stop), Step("remove", _remove))

"""Rebuild: a fresh root disk for a guest that keeps its identity.

    find → image → stop → disk → config → define → network → start

``define`` stamps the operation, and only then may the guest start.  So a disk that a guest may have written to
has the stamp beside it, in the hypervisor, where it outlives this agent and its journal: an order whose stamp is
found never touches the disk again.  Before the stamp, a disk that was replaced is one that nobody has used, and
replacing it again takes nothing away.
"""

from __future__ import annotations

from agent.operations import guest
from agent.operations.guest import NETWORK, STOP
from agent.operations.step import Attempt, Step
from drover.states import PowerState

__all__ = ["REBUILD"]


def _find(attempt: Attempt) -> None:
    found = attempt.guest()
    attempt.power_state = found.power_state
    if found.operation_id == attempt.order.operation_id:
        attempt.resume_at = NETWORK.name


def _image(attempt: Attempt) -> None:
    """While the old guest runs: an image that cannot be had leaves it as it is."""
    attempt.image_path = attempt.backend.images.ensure(attempt.spec.image, attempt.token)


def _disk(attempt: Attempt) -> None:
    attempt.driver.replace_disk(attempt.spec, attempt.image_path, attempt.token)


def _config(attempt: Attempt) -> None:
    attempt.driver.create_config(attempt.spec)


def _define(attempt: Attempt) -> None:
    attempt.driver.define(attempt.spec, attempt.order.operation_id)


def _start(attempt: Attempt) -> None:
    if attempt.order.params.get("power") == "off":
        attempt.power_state = PowerState.SHUTDOWN
    else:
        guest.start(attempt)


REBUILD = (
    Step("find", _find),
    Step("image", _image),
    STOP,
    Step("disk", _disk),
    Step("config", _config),
    Step("define", _define),
    NETWORK,
    Step("start", _start),
)

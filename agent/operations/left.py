"""What an incarnation that died has left half done: removed by the next one, before it takes orders.

The orders may have ended meanwhile and not come back.  One that does makes anew what it needs.
"""

from __future__ import annotations

from agent.journal import BegunOrder, Journal
from agent.virt.driver import Driver
from drover import errors, log
from drover.states import Action

__all__ = ["discard_left"]

LOG = log.get(__name__)

_COPIES = frozenset({Action.SNAPSHOT, Action.SHELVE})
#: they make a rescue disk, or take one away together with the definition that boots from it
_RESCUES = frozenset({Action.RESCUE, Action.UNRESCUE, Action.START, Action.RESTORE})


def discard_left(driver: Driver, journal: Journal) -> None:
    """Copies that nobody sends, and rescue disks that no guest boots from."""
    for begun in journal.unfinished():
        try:
            _discard(driver, begun)
        except errors.DriverError as exc:
            instance, operation = begun.instance_uuid, begun.operation_id
            LOG.warning("half of a verb was not discarded", instance=instance, operation=operation, error=exc)


def _discard(driver: Driver, begun: BegunOrder) -> None:
    if begun.action in _COPIES:
        driver.discard_snapshot(begun.instance_uuid, begun.operation_id)
    elif begun.action in _RESCUES:
        driver.discard_rescue_disk(begun.instance_uuid)

"""Looks at the hypervisor: after its events at single guests, each usage interval at everything.

It has a task of its own, because a hypervisor that hangs must not make the host fall silent.
"""

from __future__ import annotations

from agent.inventory import offered
from agent.manager import Manager, Parts
from drover import errors, log
from drover.conf.agent import AgentSettings

__all__ = ["Observer"]

LOG = log.get(__name__)

#: between readings of what the host offers; it changes with packages and hardware
_INVENTORY_INTERVAL_S = 60.0
#: usage intervals without a look that ended, after which the hypervisor does not answer
_OVERDUE = 3.0


class Observer:
    """One task. A failed answer is "unknown": nothing is told of any guest."""

    def __init__(self, parts: Parts, manager: Manager, settings: AgentSettings) -> None:
        self._parts = parts
        self._manager = manager
        self._settings = settings
        self._clock = parts.runtime.clock
        self._driver = parts.backend.driver
        self._trouble: errors.DroverError | None = None
        self._looked_s = self._clock.monotonic()  # when the last look at everything ended
        self._closed = False

    def check(self) -> None:
        """:raises errors.DriverError: how the last look ended, or that none has ended for long."""
        if self._trouble is not None:
            raise self._trouble
        age_s = self._clock.monotonic() - self._looked_s
        if age_s > _OVERDUE * self._parts.times.usage_interval_s:
            raise errors.DriverTimeout(operation="look at all guests", timeout_s=round(age_s, 1))

    def run(self) -> None:
        """Until closed."""
        now = self._clock.monotonic()
        next_all_s, next_inventory_s = now, now + _INVENTORY_INTERVAL_S
        while True:
            woken = self._parts.look.wait(max(0.0, next_all_s - self._clock.monotonic()))
            if self._closed:
                return
            if woken:
                self._parts.look.clear()
                self._look()
            now = self._clock.monotonic()
            if now >= next_all_s:
                next_all_s = now + self._parts.times.usage_interval_s
                self._look_at_all()
            if now >= next_inventory_s:
                next_inventory_s = now + _INVENTORY_INTERVAL_S
                self._read_inventory()

    def close(self) -> None:
        self._closed = True
        self._parts.look.set()

    def _look(self) -> None:
        uuids = self._manager.look_begins()
        try:
            guests = [guest for uuid in uuids if (guest := self._driver.get_guest(uuid)) is not None]
        except errors.DroverError as exc:
            self._failed(exc)
        else:
            self._manager.saw(uuids, guests)

    def _look_at_all(self) -> None:
        self._manager.look_begins()
        try:
            guests, stats = self._driver.list_guests(), self._driver.stats()
            files = self._driver.list_remains({guest.uuid for guest in guests})
        except errors.DroverError as exc:
            self._failed(exc)
        else:
            self._manager.saw_all(guests, stats, files)
            self._looked_s = self._clock.monotonic()
            if self._trouble is not None:
                LOG.info("hypervisor answers again")
                self._trouble = None

    def _read_inventory(self) -> None:
        try:
            found = self._driver.inventory()
        except errors.DroverError as exc:
            LOG.debug("inventory not read", error=exc)  # what the conductor has stays true for all we know
        else:
            self._manager.inventory_is(offered(found, self._settings))

    def _failed(self, exc: errors.DroverError) -> None:
        self._manager.look_failed()
        if self._trouble is None:
            LOG.warning("hypervisor does not answer", code=exc.code, error=exc)
        self._trouble = exc

"""The machines of hypervisor hosts: they outlive their agents, and so do guests, disks and what was fsynced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.state_dir import MemoryStateDir
from agent.virt.fake_store import GuestRecord, MemoryGuestStore
from drover.runtime.runtime import Random
from drover.states import PowerState
from tests.simulation.kernel import Clockwork

__all__ = ["FOREIGN", "Machine", "WatchedGuests"]

#: somebody else's domain, on each host
FOREIGN = "foreign"


class WatchedGuests(MemoryGuestStore):
    """A hypervisor's guests; each change is told to ``changed(before, after)``."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: Callable[[GuestRecord | None, GuestRecord | None], None] = lambda before, after: None

    def put(self, record: GuestRecord) -> None:
        before = self.get(record.uuid)
        super().put(record)
        self.changed(before, record)

    def delete(self, uuid: str) -> None:
        before = self.get(uuid)
        super().delete(uuid)
        self.changed(before, None)

    def power_cut(self) -> None:
        """Every guest is off, and nobody was asked."""
        for record in self.list():
            self.fail(record.uuid)

    def fail(self, uuid: str) -> None:
        """One guest is off, by itself."""
        record = self.get(uuid)
        if record is not None and record.active:
            super().put(replace(record, power_state=PowerState.SHUTDOWN))


@dataclass(slots=True, kw_only=True)
class Machine:
    """:class:`agent.identity.Machine` of one host, real or copied.

    ``name`` is the agent process's own, ``host`` its name in the fleet; ``body`` is what boots.
    """

    name: str
    host: str
    identity: str
    body: str
    state_dir: MemoryStateDir = field(default_factory=MemoryStateDir)
    guests: WatchedGuests = field(default_factory=WatchedGuests)
    clocks: Clockwork = field(default_factory=Clockwork)
    boots: int = 1
    hypervisor_down: bool = False
    lives: int = 0  # of its agent

    def host_name(self) -> str:
        return self.host

    def machine_id(self) -> str:
        return self.identity

    def boot_id(self) -> str:
        return f"{self.body}-boot-{self.boots}"

    def crash(self, random: Random) -> None:
        """Power is lost: guests are gone, and of what was not fsynced some bytes survive or none."""
        self.guests.power_cut()
        self.state_dir.crash(lambda unsynced: random.randrange(unsynced + 1))
        self.boots += 1

    def cloned(self) -> Machine:
        """Another machine with a copy of the disk: the same identity, guests that do not run, another boot."""
        clone = replace(self.twin(), body=f"{self.body}+")
        clone.guests = WatchedGuests()
        for record in self.guests.list():
            clone.guests.put(replace(record, power_state=PowerState.SHUTDOWN))
        clone.clocks = Clockwork()
        return clone

    def twin(self) -> Machine:
        """A second agent's view of the same machine and hypervisor, with a copy of the state directory."""
        state_dir = copy.deepcopy(self.state_dir)
        state_dir.kill()
        return replace(self, name=f"{self.name}+", state_dir=state_dir, lives=0)

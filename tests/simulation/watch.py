"""Promises 1, 2, 4 and 6 at every instant: told of each change of a guest, asked after each commit."""

from __future__ import annotations

from collections import Counter
from functools import partial

from agent.virt.fake_store import GuestRecord
from drover.states import VERBS, Action, VmState
from tests.simulation.kernel import Kernel
from tests.simulation.machine import FOREIGN, Machine
from tests.simulation.seats import misplaced
from tests.simulation.store import Store

__all__ = ["Watch"]

#: verbs that may start a guest (a shelve that is taken back does), and verbs that may end its run
_BOOTS = frozenset(v.action for v in VERBS.values() if v.end in (VmState.ACTIVE, VmState.RESCUED)) | {Action.SHELVE}
_STOPS = frozenset(
    {"stop", "reboot", "delete", "suspend", "rebuild", "rescue", "unrescue", "shelve", "soft-delete", "snapshot"}
)

_OVERCOMMITTED = (
    "SELECT host FROM host_capacity WHERE used_vcpus > total_vcpus OR used_memory_mib > total_memory_mib"
    " OR used_disk_gib > total_disk_gib"
)
_PERMITTED_TWICE = (
    "SELECT instance_uuid FROM allocation WHERE state IN ('permitted', 'active') GROUP BY 1 HAVING count(*) > 1"
)
_LEAVING = "SELECT 1 FROM allocation WHERE instance_uuid = ? AND host = ? AND epoch >= ? AND state = 'leaving'"
_ORDERED_OUT = "SELECT 1 FROM operation WHERE instance_uuid = ? AND host = ? AND action IN ('delete', 'shelve')"
#: a build that is under way may take back what it made
_UNDER_BUILD = (
    "SELECT 1 FROM operation o JOIN allocation a ON a.instance_uuid = o.instance_uuid AND a.host = o.host"
    " WHERE o.instance_uuid = ? AND o.host = ? AND a.epoch >= ? AND o.unfinished = 1"
    " AND o.action IN ('build', 'unshelve')"
)
_ASKED_TO_STOP = f"SELECT 1 FROM operation WHERE instance_uuid = ? AND action IN ({','.join('?' * len(_STOPS))})"
_ASKED_TO_BOOT = (
    "SELECT COALESCE(SUM(CASE WHEN action IN ('build', 'unshelve') THEN attempt ELSE 1 END), 0) FROM operation"
    f" WHERE instance_uuid = ? AND action IN ({','.join('?' * len(_BOOTS))})"
)


class Watch:
    """What is broken is kept in :attr:`violations`: an error raised here would end in the code under test."""

    def __init__(self, store: Store, kernel: Kernel) -> None:
        self.violations: list[str] = []
        #: a restored database knows nothing of what was asked after the copy was made
        self.amnesia = False
        self._store = store
        self._kernel = kernel
        self._running: dict[str, set[str]] = {}  # machines by guest
        self._ran: set[tuple[str, str, int]] = set()  # (machine, guest, epoch) that was active once
        self._boots: Counter[str] = Counter()
        self._twinned: set[str] = set()  # hosts
        # what records asked for that a restore took away
        self._entitled: set[tuple[str, str, int]] = set()
        self._asked: set[str] = set()

    # --- machines --------------------------------------------------------------------------------------------

    def add(self, machine: Machine) -> None:
        """Watch a machine's guests from now on."""
        machine.guests.changed = partial(self._changed, machine)

    def off(self, machine: Machine, uuid: str) -> None:
        """A guest ended by itself or with its machine, so it may be started once more."""
        if machine.name in self._running.get(uuid, ()):
            self._running[uuid].discard(machine.name)
            self._boots[uuid] -= 1

    def forget(self, machine: Machine) -> None:
        """The machine is gone, with everything that ran on it."""
        for machines in self._running.values():
            machines.discard(machine.name)

    def twinned(self, host: str) -> None:
        """Two agents had one machine: until one hears that it is not the agent, a verb in its hands is in both's.

        They may start a guest one after the other, once; never two guests.
        """
        self._twinned.add(host)

    def check(self) -> None:
        """:raises AssertionError: a promise was broken."""
        assert not self.violations, self.violations[0]

    # --- the database ----------------------------------------------------------------------------------------

    def committed(self) -> None:
        """Promises 1 and 2, in the records."""
        if over := self._store.rows(_OVERCOMMITTED):
            self._violated(f"promise 2: over-committed: {over}")
        for words in misplaced(self._store):
            self._violated(f"promise 2: {words}")
        if twice := self._store.rows(_PERMITTED_TWICE):
            self._violated(f"promise 1: may run in two places: {twice}")

    def restoring(self) -> None:
        """The present records are about to be replaced by old ones; what they entitle to may be under way."""
        self.amnesia = True
        query = "SELECT instance_uuid, host, epoch FROM allocation WHERE state = 'leaving'"
        self._entitled |= set(self._store.rows(query))
        query = "SELECT instance_uuid, host, 1 << 30 FROM operation WHERE action IN ('delete', 'shelve')"
        self._entitled |= set(self._store.rows(query))
        self._asked |= {uuid for (uuid,) in self._store.rows("SELECT instance_uuid FROM operation")}

    # --- guests ----------------------------------------------------------------------------------------------

    def _changed(self, machine: Machine, before: GuestRecord | None, after: GuestRecord | None) -> None:
        record = after or before
        assert record is not None
        was, now = bool(before and before.active), bool(after and after.active)
        self._kernel.note(f"guest {machine.name} {record.uuid} {after.power_state if after else 'gone'} {record.epoch}")
        if record.uuid.startswith(FOREIGN):
            self._violated(f"promise 4: {record.name} on {machine.name} is not ours and was changed")
            return
        if now:
            self._ran.add((machine.name, record.uuid, record.epoch))
            self._runs(machine, record)
        elif was:
            self._running[record.uuid].discard(machine.name)
        booted = after.boots - (before.boots if before else 0) if after else 0
        if booted > 0:
            self._booted(machine, record.uuid, booted)
        if before is not None and after is None and before.defined:
            self._removed(machine, before)
        elif before is not None and was and not now:
            self._stopped(machine, before)

    def _runs(self, machine: Machine, record: GuestRecord) -> None:
        machines = self._running.setdefault(record.uuid, set())
        machines.add(machine.name)
        if len(machines) > 1:
            self._violated(f"promise 1: {record.uuid} runs on {sorted(machines)}")

    def _booted(self, machine: Machine, uuid: str, times: int) -> None:
        self._boots[uuid] += times
        allowed = self._store.rows(_ASKED_TO_BOOT, uuid, *sorted(_BOOTS))[0][0] + (machine.host in self._twinned)
        if self._boots[uuid] > allowed and not self.amnesia:
            self._violated(f"promise 6: {uuid} was started {self._boots[uuid]} times for {allowed} commands")

    def _removed(self, machine: Machine, guest: GuestRecord) -> None:
        if (machine.name, guest.uuid, guest.epoch) in self._ran and not self._is_entitled(machine, guest):
            self._violated(f"promise 4: {guest.uuid} of epoch {guest.epoch} was destroyed on {machine.name} unnamed")

    def _stopped(self, machine: Machine, guest: GuestRecord) -> None:
        asked = self._store.rows(_ASKED_TO_STOP, guest.uuid, *sorted(_STOPS))
        if not asked and guest.uuid not in self._asked and not self._is_entitled(machine, guest):
            self._violated(f"promise 5: {guest.uuid} was stopped on {machine.name} and nobody asked")

    def _is_entitled(self, machine: Machine, guest: GuestRecord) -> bool:
        here = (guest.uuid, machine.host)
        return bool(
            self._store.rows(_LEAVING, *here, guest.epoch)
            or self._store.rows(_ORDERED_OUT, *here)
            or self._store.rows(_UNDER_BUILD, *here, guest.epoch)
            or any(e[:2] == here and e[2] >= guest.epoch for e in self._entitled)
        )

    def _violated(self, words: str) -> None:
        self._kernel.note(words)
        self.violations.append(words)

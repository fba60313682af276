"""What the hypervisor shows, on its way to the conductor: pure state, no I/O.

An observation that was read while an order changed the guest may already be wrong, so it is thrown away; the
order's own result tells the state after it.  Only what changed is urgent, the rest rides with the next sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.virt.driver import PowerEvent, Stats
from drover.objects.guest import GuestClass, GuestState
from drover.objects.host import HostUsage, Inventory
from drover.objects.sync import Observation, Remains, SyncRequest
from drover.states import PowerState

__all__ = ["Observations"]

#: in one sync; the rest goes with the next
_MOST = 1000


class Observations:
    """Not thread-safe: its owner holds a lock around each call."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory  # as the conductor has it
        self._new_inventory: Inventory | None = None
        self._usage: HostUsage | None = None
        self._foreign: tuple[str, ...] | None = None  # as the conductor has it
        self._new_foreign: tuple[str, ...] | None = None
        self._remains: tuple[Remains, ...] = ()
        self._pending: dict[str, Observation] = {}
        self._known: dict[str, PowerState] = {}  # power states the conductor was or will be told
        self._dirty: dict[str, PowerState] = {}  # guests with events to look into, with the last event
        self._touched: set[str] | None = None  # guests that orders changed since the look began

    # orders

    def order_began(self, uuid: str) -> None:
        """From now on what was seen of the guest is old."""
        self._pending.pop(uuid, None)
        if self._touched is not None:
            self._touched.add(uuid)

    def order_ended(self, uuid: str, power_state: PowerState) -> bool:
        """The order's result tells *power_state*; true if events speak of something else."""
        self.order_began(uuid)
        if power_state is not PowerState.UNKNOWN:
            self._known[uuid] = power_state
        if self._dirty.get(uuid) == power_state:
            del self._dirty[uuid]
        return uuid in self._dirty

    def order_removed(self, uuid: str) -> None:
        """Nothing of the guest is left; what its events still say is no news."""
        self.order_began(uuid)
        self._known[uuid] = PowerState.SHUTDOWN
        self._dirty.pop(uuid, None)

    # events and looks

    def event(self, event: PowerEvent) -> bool:
        """Note an event; true if the guest should be looked at, once no order is at work on it."""
        uuid = event.instance_uuid
        if uuid not in self._dirty and self._known.get(uuid) == event.power_state:
            return False
        self._dirty[uuid] = event.power_state
        return True

    def look_begins(self, busy: Iterable[str]) -> list[str]:
        """A look at the hypervisor begins: the guests to look at for their events, none of them *busy*."""
        self._touched = set(busy)
        return sorted(uuid for uuid in self._dirty if uuid not in self._touched)

    def saw(self, looked_at: Sequence[str], guests: Iterable[GuestState]) -> bool:
        """The states of single guests; true if there is news. A guest that is gone has nothing to report."""
        news = False
        for guest in guests:
            news |= self._put(guest, None)
        self._looked(looked_at)
        return news

    def saw_all(self, guests: Sequence[GuestState], stats: Stats, files: Iterable[tuple[str, int]] = ()) -> bool:
        """Every domain of the host, and its usage; true if there is news.

        :param files: (uuid, epoch) of guests that have some and no domain.
        """
        touched = self._touched or set()
        self._remains = tuple(Remains(instance_uuid=u, epoch=e) for u, e in files if u not in touched)[:_MOST]
        ours = [guest for guest in guests if guest.kind is GuestClass.OURS]
        news = False
        for guest in ours:
            news |= self._put(guest, stats)
        foreign = tuple(sorted(guest.name for guest in guests if guest.kind is GuestClass.FOREIGN))
        if foreign != self._foreign:
            self._new_foreign, news = foreign, True
        self._usage = stats.host
        here = {guest.uuid for guest in ours} | touched
        self._known = {uuid: state for uuid, state in self._known.items() if uuid in here}
        self._looked(list(self._dirty))
        return news

    def look_failed(self) -> None:
        """The hypervisor did not answer, which says nothing about any guest."""
        self._touched = None

    def inventory_is(self, inventory: Inventory) -> bool:
        """What the host offers now; true if that is news."""
        self._new_inventory = inventory if inventory != self._inventory else None
        return self._new_inventory is not None

    # syncs

    def fill(self, request: SyncRequest) -> SyncRequest:
        """*request* with what there is to tell."""
        return replace(
            request,
            observations=tuple(self._pending.values())[:_MOST],
            usage=self._usage,
            inventory=self._new_inventory,
            foreign=self._new_foreign,
            remains=self._remains,
        )

    def delivered(self, request: SyncRequest) -> bool:
        """The conductor has what *request* told; true if more waits."""
        for observation in request.observations:
            if self._pending.get(observation.instance_uuid) is observation:
                del self._pending[observation.instance_uuid]
        if self._remains is request.remains:
            self._remains = ()
        if self._usage is request.usage:
            self._usage = None
        if request.inventory is not None:
            self._inventory = request.inventory
            self.inventory_is(self._new_inventory or request.inventory)
        if request.foreign is not None:
            self._foreign = request.foreign
            self._new_foreign = None if self._new_foreign == request.foreign else self._new_foreign
        return bool(self._pending)

    def _put(self, guest: GuestState, stats: Stats | None) -> bool:
        if guest.kind is not GuestClass.OURS or (self._touched is not None and guest.uuid in self._touched):
            return False
        usage = stats.guests.get(guest.uuid) if stats else None
        self._pending[guest.uuid] = Observation(
            instance_uuid=guest.uuid,
            epoch=guest.epoch,
            power_state=guest.power_state,
            usage=usage,
            rescue=guest.rescue,
            saved=guest.saved,
        )
        changed = self._known.get(guest.uuid) != guest.power_state
        self._known[guest.uuid] = guest.power_state
        return changed

    def _looked(self, uuids: Sequence[str]) -> None:
        """The look ends: what was looked at and not touched meanwhile is clean."""
        for uuid in uuids:
            if self._touched is None or uuid not in self._touched:
                self._dirty.pop(uuid, None)
        self._touched = None

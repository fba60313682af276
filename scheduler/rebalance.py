"""Few moves that even the load out: a pure function from a table and its guests to a plan.

Greedy, as Ganeti's hbal: of all moves off the fullest hosts the one that evens out most, then the next, until none
is worth a migration.  Every move keeps every rule, as it is after the moves before it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from drover.objects.group import GroupPolicy
from drover.objects.selection import Move, RebalancePlan
from scheduler.host_table import BoolArray, Count, FloatArray, HostTable, IntArray, Resource, amounts
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec

__all__ = ["Guest", "fullest", "rebalance"]

#: what a move must take off the summed squares of the hosts' distances from the mean: a guest of a twentieth of a
#: host that goes to one which is six hundredths emptier. Less would cost a migration and change nothing to be seen.
WORTH = 0.001
#: how many of the fullest hosts are looked at together, and how many of their guests
_FULLEST = 8
_TOGETHER = 64
#: answers kept until the next move: guests of one host are of few sizes
_REMEMBERED = 128
_SOFT = frozenset({GroupPolicy.SOFT_AFFINITY, GroupPolicy.SOFT_ANTI_AFFINITY})
_WORDS = {Resource.VCPUS: "vCPUs", Resource.MEMORY_MIB: "memory", Resource.DISK_GIB: "disk"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An instance that may be moved, and what it asks of a host."""

    uuid: str
    name: str
    host: str
    spec: PlacementSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    guest: Guest
    source: int
    destination: int
    unevenness: float  # after it


def rebalance(table: HostTable, guests: Iterable[Guest], chain: Chain, most: int) -> RebalancePlan:
    """At most *most* moves of *guests*, each guest once.

    Hosts that are down, disabled, draining or quarantined neither give nor take, and count for nothing.  Guests that hold hardware piece by
    piece stay, as do members of soft groups, whose wish no filter holds.
    """
    load = _Load(table)
    crowd = _Crowd(guests)
    before = load.spread
    moves: list[Move] = []
    while len(moves) < most and (step := _best(load, crowd, chain)) is not None:
        moves.append(_move(load, step))
        crowd.move(step.guest, table.name(step.destination))
    return RebalancePlan(
        moves=tuple(moves),
        hosts=load.count,
        spread_before=before,
        spread_after=load.spread,
        complete=len(moves) < most,
    )


def fullest(table: HostTable, most: int) -> list[str]:
    """The hosts whose guests are to be looked at, the fullest first."""
    return [table.name(place) for place in _Load(table).fullest_first()[:most]]


class _Load:
    """How full hosts are, with the moves made so far. *unevenness* is what a plan brings down.

    It is the sum of the squares of the distances from the mean, over hosts and resources; of a move only two hosts
    change, so sums of shares and of their squares are enough.
    """

    def __init__(self, table: HostTable) -> None:
        self.table = table.scratch()
        aside = table.draining | table.quarantined
        self.takes_part: BoolArray = table.up & table.enabled & ~aside & (table.total > 0).all(axis=0)
        self.count = int(np.count_nonzero(self.takes_part))
        self._size = np.maximum(table.total, 1)
        self._after: dict[tuple[int, tuple[int, ...]], FloatArray] = {}
        self._count()

    def _count(self) -> None:
        """After each change: shares of each resource, a line each, and their sums over the hosts that take part."""
        self.shares: FloatArray = (self.table.total - self.table.free) / self._size
        ours = self.shares[:, self.takes_part]
        self._total, self._squares = ours.sum(axis=1), (ours**2).sum(axis=1)
        self.unevenness = float((self._squares - self._total**2 / self.count).sum()) if self.count else 0.0
        self._after.clear()

    @property
    def spread(self) -> float:
        """The root of the mean square of all distances from the mean: it falls with every move."""
        return round(math.sqrt(max(0.0, self.unevenness) / (len(Resource) * self.count)), 4) if self.count else 0.0

    def fullest_first(self) -> list[int]:
        """Places that take part; by their fullest resource, of equals the first by name."""
        places = np.flatnonzero(self.takes_part)
        order: list[int] = places[np.argsort(-self.shares[:, places].max(axis=0), kind="stable")].tolist()
        return order

    def after(self, source: int, ask: IntArray) -> FloatArray:
        """For each destination the unevenness with *ask* moved there from *source*."""
        key = (source, tuple(ask.tolist()))
        found = self._after.get(key)
        if found is None:
            amount = ask[:, np.newaxis] / self._size
            given = amount[:, source]
            total = (self._total - given)[:, np.newaxis] + amount
            squares = (self._squares + given * (given - 2 * self.shares[:, source]))[:, np.newaxis]
            squares = squares + amount * (2 * self.shares + amount)
            if len(self._after) >= _REMEMBERED:  # of a large fleet each is 80 kB
                self._after.clear()
            found = self._after[key] = (squares - total**2 / self.count).sum(axis=0)
        return found

    def size(self, place: int, ask: IntArray) -> float:
        """The largest share that *ask* is of the host at *place*."""
        return float((ask / self._size[:, place]).max())

    def move(self, source: int, destination: int, ask: IntArray) -> None:
        self.table.occupy(np.array([destination]), ask, np.array([1]))
        self.table.give_back(source, ask)
        self.table.counts[Count.INSTANCES, source] -= 1
        self._count()


class _Crowd:
    """The guests that may still move, by host, and where the members of groups are."""

    def __init__(self, guests: Iterable[Guest]) -> None:
        self._groups: dict[str, Counter[str]] = {}
        self._movable: dict[str, dict[str, Guest]] = {}
        for guest in guests:
            group = guest.spec.group
            if group is not None and group.id not in self._groups:
                # An affinity group is told to each member without itself, an anti-affinity group with it.
                itself = Counter((guest.host,)) if group.policy is GroupPolicy.AFFINITY else Counter[str]()
                self._groups[group.id] = Counter(dict(group.hosts)) + itself
            if not guest.spec.hardware and (group is None or group.policy not in _SOFT):
                self._movable.setdefault(guest.host, {})[guest.uuid] = guest

    def wishes(self, host: str) -> dict[PlacementSpec, Guest]:
        """What the guests of *host* would ask of another one: of equal ones the first."""
        found: dict[PlacementSpec, Guest] = {}
        for guest in self._movable.get(host, {}).values():
            found.setdefault(self._wish(guest), guest)
        return found

    def _wish(self, guest: Guest) -> PlacementSpec:
        """Without itself among the members of its group."""
        group = guest.spec.group
        if group is None:
            return guest.spec
        others = self._groups[group.id] - Counter((guest.host,))
        return dataclasses.replace(guest.spec, group=dataclasses.replace(group, hosts=tuple(sorted(others.items()))))

    def move(self, guest: Guest, destination: str) -> None:
        del self._movable[guest.host][guest.uuid]
        if guest.spec.group is not None:
            members = self._groups[guest.spec.group.id]
            members[guest.host] -= 1
            members[destination] += 1


def _best(load: _Load, crowd: _Crowd, chain: Chain) -> _Step | None:
    """The best move of large guests off the fullest hosts; of smaller guests, and then off less full hosts, when none
    of those is worth it."""
    places = load.fullest_first()
    for first in range(0, len(places), _FULLEST):
        wishes = [
            (source, wish, guest)
            for source in places[first : first + _FULLEST]
            for wish, guest in crowd.wishes(load.table.name(source)).items()
        ]
        wishes.sort(key=lambda each: -load.size(each[0], amounts(each[1].resources)))
        for begin in range(0, len(wishes), _TOGETHER):
            steps = [_step(load, *each, chain) for each in wishes[begin : begin + _TOGETHER]]
            if worth := [step for step in steps if step is not None]:
                return min(worth, key=lambda step: step.unevenness)
    return None


def _step(load: _Load, source: int, wish: PlacementSpec, guest: Guest, chain: Chain) -> _Step | None:
    """Where *guest* would even out most; None when that is nowhere, or worth too little."""
    unevenness = load.after(source, amounts(wish.resources))
    may = load.takes_part & (unevenness <= load.unevenness - WORTH)
    may[source] = False
    if not may.any():
        return None
    load.table.set_members(dict(wish.group.hosts) if wish.group is not None else {})
    for each in chain.asked(load.table, wish).filters:
        may &= each.mask(load.table, wish)
    if not may.any():
        return None
    destination = int(np.where(may, unevenness, np.inf).argmin())
    return _Step(guest=guest, source=source, destination=destination, unevenness=float(unevenness[destination]))


def _move(load: _Load, step: _Step) -> Move:
    """Make the step, and say what it does."""
    before, spread = load.shares, load.spread  # the move makes new ones
    load.move(step.source, step.destination, amounts(step.guest.spec.resources))
    after = load.shares
    ends = (step.source, step.destination)
    gap = [abs(float(before[kind, ends[0]] - before[kind, ends[1]])) for kind in Resource]
    kind = Resource(gap.index(max(gap)))
    words = (f"{load.table.name(each)} {before[kind, each]:.0%} → {after[kind, each]:.0%}" for each in ends)
    return Move(
        instance_uuid=step.guest.uuid,
        instance_name=step.guest.name,
        source=load.table.name(step.source),
        destination=load.table.name(step.destination),
        why=f"{_WORDS[kind]}: {', '.join(words)}",
        spread_before=spread,
        spread_after=load.spread,
    )

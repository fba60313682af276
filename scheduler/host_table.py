"""Hosts as columns: one array a fact, one place in it a host.

A table is a value: what changes it makes another one.  Filters and weighers read it; :mod:`scheduler.decide`
also builds tables of imagined hosts from it (the same host with one, two, three more guests) and asks about
all of them at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.host import HostUsage, Resources
from scheduler.belonging import AggregateColumn, Belonging
from scheduler.column import BoolArray, FloatArray, IntArray, LabelColumn
from scheduler.hardware_state import HardwareColumn, HardwareState

__all__ = ["Beside", "BoolArray", "Count", "FloatArray", "HostTable", "IntArray", "Resource", "amounts"]


class Resource(IntEnum):
    """Which line of :attr:`HostTable.total` and :attr:`HostTable.free`."""

    VCPUS = 0
    MEMORY_MIB = 1
    DISK_GIB = 2


class Count(IntEnum):
    """Which line of :attr:`HostTable.counts`: what each placement adds one to."""

    INSTANCES = 0  # placements, in whatever state; 0 unless a rule of the chain needs them
    IO_OPERATIONS = 1  # builds and other work on disks, as last reported; 0 unless a rule of the chain needs them
    MEMBERS = 2  # of the server group of the request at hand


def amounts(resources: Resources) -> IntArray:
    """*resources* in the order of :class:`Resource`."""
    return np.array((resources.vcpus, resources.memory_mib, resources.disk_gib), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known of hosts beside their rows, by name; hosts that are missing have none of it."""

    instances: Mapping[str, int] = field(default_factory=dict)
    claims: Mapping[str, Sequence[str]] = field(default_factory=dict)  # JSON of HardwareClaim each


#: columns that say nothing of most fleets: rules about them look once whether there is anything to rule
_NOTABLE = ("draining", "quarantined", "failures", "devices")
#: columns that :meth:`HostTable.imagined` takes places of
_ARRAYS = ("row", "enabled", "up", "draining", "quarantined", "failures", "devices", "cpu_load", "total")
_SHARED = ("architecture", "virt_types", "traits", "images", "aggregates", "hardware")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostTable:
    """The fleet, sorted by name. Every array has one place a host; ``total`` and ``free`` one line a :class:`Resource`.

    ``row`` says which host of the fleet a place is: in the fleet's own table 0, 1, 2 …; in a table of
    :meth:`imagined` hosts one may stand at several places.  ``free`` is negative where a host is overdrawn (its
    inventory shrank).  ``largest`` is the largest total of each resource in the fleet: the unit in which
    weighers measure.
    """

    hosts: tuple[HostRow, ...]  # by row
    rows: dict[str, int]  # by name
    row: IntArray
    enabled: BoolArray
    up: BoolArray
    draining: BoolArray
    quarantined: BoolArray
    failures: IntArray  # builds that failed there of late
    devices: IntArray  # PCI devices that nobody has
    cpu_load: FloatArray  # 0 to 1; 0 unless a rule of the chain needs it
    total: IntArray
    free: IntArray
    counts: IntArray  # one line a :class:`Count`
    largest: IntArray
    noted: frozenset[str]  # those of :data:`_NOTABLE` that any host has, or had
    architecture: LabelColumn
    virt_types: LabelColumn
    traits: LabelColumn
    images: LabelColumn  # ids in the host's image cache; none unless a rule of the chain needs them
    aggregates: AggregateColumn
    hardware: HardwareColumn
    shares: FloatArray  # of what is free, see :meth:`share_free`

    @classmethod
    def build(cls, rows: Iterable[HostRow], beside: Beside | None = None) -> HostTable:
        """A table of the whole fleet."""
        ordered = tuple(sorted(rows, key=lambda row: row.host))
        facts = _Facts(ordered, beside or Beside())
        counts = np.zeros((len(Count), len(ordered)), dtype=np.int64)
        counts[Count.INSTANCES] = facts.instances
        return cls(
            hosts=ordered,
            rows={row.host: number for number, row in enumerate(ordered)},
            row=np.arange(len(ordered), dtype=np.int64),
            cpu_load=np.zeros(len(ordered), dtype=np.float64),
            counts=counts,
            largest=_largest(facts.arrays["total"]),
            noted=_noted(facts.arrays),
            shares=_shares(facts.arrays["free"], _largest(facts.arrays["total"])),
            images=LabelColumn.of([frozenset()] * len(ordered)),
            architecture=LabelColumn.of(facts.architecture),
            virt_types=LabelColumn.of(facts.virt_types),
            traits=LabelColumn.of(facts.traits),
            aggregates=AggregateColumn.of(facts.aggregates),
            hardware=HardwareColumn.of(facts.hardware),
            **facts.arrays,
        )

    def with_rows(self, rows: Sequence[HostRow], beside: Beside | None = None) -> HostTable:
        """The fleet with newer facts about some of its hosts.

        :raises KeyError: a row's host is not in the table.
        """
        facts = _Facts(rows, beside or Beside())
        places = np.array([self.rows[row.host] for row in rows], dtype=np.int64)
        hosts = list(self.hosts)
        for place, row in zip(places.tolist(), rows, strict=True):
            hosts[place] = row
        counts = self.counts.copy()
        counts[Count.INSTANCES, places] = facts.instances
        arrays: dict[str, Any] = {
            name: _replaced(getattr(self, name), places, values) for name, values in facts.arrays.items()
        }
        return dataclasses.replace(
            self,
            hosts=tuple(hosts),
            counts=counts,
            largest=_largest(arrays["total"]),
            noted=_noted(arrays),
            shares=_shares(arrays["free"], _largest(arrays["total"])),
            architecture=self.architecture.replaced(places, facts.architecture),
            virt_types=self.virt_types.replaced(places, facts.virt_types),
            traits=self.traits.replaced(places, facts.traits),
            aggregates=self.aggregates.replaced(places, facts.aggregates),
            hardware=self.hardware.replaced(places, facts.hardware),
            **arrays,
        )

    def with_usage(self, usage: Mapping[str, HostUsage]) -> HostTable:
        """The fleet with the load that hosts reported, by name. One that reported none is taken for idle."""
        each = [usage.get(host.host, _IDLE) for host in self.hosts]
        counts = self.counts.copy()
        counts[Count.IO_OPERATIONS] = [use.io_operations for use in each]
        return dataclasses.replace(
            self,
            cpu_load=np.array([min(max(use.cpu_percent / 100.0, 0.0), 1.0) for use in each], dtype=np.float64),
            counts=counts,
            images=LabelColumn.of([frozenset(use.images) for use in each]),
        )

    def scratch(self) -> HostTable:
        """The same, to be written to by :meth:`occupy` and :meth:`set_members`."""
        return dataclasses.replace(self, free=self.free.copy(), counts=self.counts.copy(), shares=self.shares.copy())

    def occupy(self, places: IntArray, ask: IntArray, guests: IntArray) -> None:
        """Only on a :meth:`scratch` table: so many *guests* of *ask* more at each of *places*, none named twice."""
        free = self.free[:, places] - ask[:, np.newaxis] * guests
        self.free[:, places] = free
        self.shares[:, places] = _shares(free, self.largest)
        self.counts[:, places] += guests

    def give_back(self, place: int, amount: IntArray) -> None:
        """Only on a :meth:`scratch` table: so much more is free at *place*."""
        self.free[:, place] += amount
        self.shares[:, place] = _shares(self.free[:, place], self.largest)

    def set_members(self, members: Mapping[str, int]) -> None:
        """Only on a :meth:`scratch` table: how many members of the request's group hosts have, by name."""
        line = self.counts[Count.MEMBERS]
        line[:] = 0
        for name, count in members.items():
            if name in self.rows:  # a host that was forgotten may have left a placement behind
                line[self.rows[name]] = count

    def with_hardware(self, place: int, state: HardwareState) -> HostTable:
        """The fleet with another state of the hardware at *place*."""
        places = np.array([place])
        return dataclasses.replace(
            self,
            hardware=self.hardware.replaced(places, [state]),
            devices=_replaced(self.devices, places, np.array([state.free_devices])),
        )

    def imagined(self, places: IntArray, ask: IntArray, guests: IntArray) -> HostTable:
        """Only *places*, in that order and as often as they are named, each with so many *guests* of *ask* more."""
        free = self.free[:, places] - ask[:, np.newaxis] * guests
        arrays = {name: getattr(self, name)[..., places] for name in _ARRAYS}
        shared = {name: getattr(self, name).take(places) for name in _SHARED}
        return dataclasses.replace(
            self,
            free=free,
            counts=self.counts[:, places] + guests,
            shares=_shares(free, self.largest),
            **arrays,
            **shared,
        )

    def __len__(self) -> int:
        return len(self.row)

    def host(self, place: int) -> HostRow:
        """What is written of the host at *place*; its ``used_*`` are those of before this batch."""
        return self.hosts[int(self.row[place])]

    def name(self, place: int) -> str:
        return self.hosts[int(self.row[place])].host

    def is_host(self, name: str) -> BoolArray:
        """Where *name* stands; nowhere if the fleet has no such host."""
        found: BoolArray = np.equal(self.row, self.rows.get(name, -1))
        return found

    def is_among(self, names: Iterable[str]) -> BoolArray:
        """Where any of *names* stands."""
        found: BoolArray = np.isin(self.row, [self.rows.get(name, -1) for name in names])
        return found

    def count(self, which: Count) -> IntArray:
        """One line of :attr:`counts`."""
        line: IntArray = self.counts[which]
        return line

    def fits(self, resource: Resource, amount: int) -> BoolArray:
        """Where *amount* is free. Nothing always fits, also on a host that is overdrawn."""
        if amount == 0:
            return np.ones(len(self), dtype=np.bool_)
        enough: BoolArray = np.greater_equal(self.free[resource], amount)
        return enough

    def share_free(self, resource: Resource) -> FloatArray:
        """Free amounts from 0 to 1: as a share of the fleet's largest host. Only to be read."""
        share: FloatArray = self.shares[resource]
        return share


_IDLE = HostUsage()


class _Facts:
    """Rows turned into columns; JSON that many rows share is decoded once."""

    def __init__(self, rows: Sequence[HostRow], beside: Beside) -> None:
        self._words: dict[str, frozenset[str]] = {}
        self._belongings: dict[str, Belonging] = {}
        self._offers: dict[str, HardwareState] = {}
        total = _matrix([(row.total_vcpus, row.total_memory_mib, row.total_disk_gib) for row in rows])
        used = _matrix([(row.used_vcpus, row.used_memory_mib, row.used_disk_gib) for row in rows])
        self.instances = [beside.instances.get(row.host, 0) for row in rows]
        self.architecture = [frozenset((row.architecture,)) for row in rows]
        self.virt_types = [self._labels(row.virt_types) for row in rows]
        self.traits = [self._labels(row.traits) for row in rows]
        self.aggregates = [self._belonging(row.aggregates) for row in rows]
        self.hardware = [self._hardware(row.hardware, beside.claims.get(row.host, ())) for row in rows]
        self.arrays: dict[str, Any] = {
            "enabled": np.array([row.enabled for row in rows], dtype=np.bool_),
            "up": np.array([row.up for row in rows], dtype=np.bool_),
            "draining": np.array([row.draining for row in rows], dtype=np.bool_),
            "quarantined": np.array([bool(row.quarantine) for row in rows], dtype=np.bool_),
            "failures": np.array([row.failures for row in rows], dtype=np.int64),
            "devices": np.array([state.free_devices for state in self.hardware], dtype=np.int64),
            "total": total,
            "free": total - used,
        }

    def _labels(self, text: str) -> frozenset[str]:
        words = self._words.get(text)
        if words is None:
            words = self._words[text] = codec.from_json(text, frozenset[str])
        return words

    def _belonging(self, text: str) -> Belonging:
        found = self._belongings.get(text)
        if found is None:
            found = self._belongings[text] = Belonging.of(text)
        return found

    def _hardware(self, offered: str, claims: Sequence[str]) -> HardwareState:
        untouched = self._offers.get(offered)
        if untouched is None:
            untouched = self._offers[offered] = HardwareState.of(offered, ())
        return untouched.holding(claims) if claims else untouched


def _matrix(lines: list[tuple[int, int, int]]) -> IntArray:
    return np.ascontiguousarray(np.array(lines, dtype=np.int64).reshape(-1, len(Resource)).T)


def _noted(arrays: Mapping[str, NDArray[Any]]) -> frozenset[str]:
    return frozenset(name for name in _NOTABLE if arrays[name].any())


def _shares(free: IntArray, largest: IntArray) -> FloatArray:
    """Of all hosts, or of one."""
    shares: FloatArray = (np.maximum(free, 0).T * (1.0 / largest)).T
    return shares


def _largest(total: IntArray) -> IntArray:
    largest: IntArray = np.maximum(total.max(axis=1, initial=0), 1)
    return largest


def _replaced(array: NDArray[Any], places: IntArray, values: NDArray[Any]) -> NDArray[Any]:
    changed = array.copy()
    changed[..., places] = values
    return changed

"""Hosts as columns: one NumPy array a fact, one place in it a host.

A table is a value: what changes it makes another one.  Filters and weighers read it; :mod:`scheduler.decide`
also builds tables of imagined hosts from it (the same host with one, two, three more guests) and asks about
all of them at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.host import Resources

__all__ = ["BoolArray", "FloatArray", "HostTable", "IntArray", "LabelColumn", "Resource", "amounts"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


class Resource(IntEnum):
    """Which line of :attr:`HostTable.total` and :attr:`HostTable.free`."""

    VCPUS = 0
    MEMORY_MIB = 1
    DISK_GIB = 2


def amounts(resources: Resources) -> IntArray:
    """*resources* in the order of :class:`Resource`."""
    return np.array((resources.vcpus, resources.memory_mib, resources.disk_gib), dtype=np.int64)


class LabelColumn:
    """A set of words for each host (its virt types, its traits).

    Hosts of one make have the same set, so a host keeps only the number of its set.
    """

    __slots__ = ("_codes", "_sets")

    def __init__(self, codes: NDArray[np.intp], sets: tuple[frozenset[str], ...]) -> None:
        self._codes = codes
        self._sets = sets

    @classmethod
    def of(cls, each: Sequence[frozenset[str]]) -> Self:
        """A column with the set of each host in turn."""
        numbers: dict[frozenset[str], int] = {}
        codes = [numbers.setdefault(words, len(numbers)) for words in each]
        return cls(np.array(codes, dtype=np.intp), tuple(numbers))

    def __getitem__(self, place: int) -> frozenset[str]:
        return self._sets[int(self._codes[place])]

    def having(self, word: str) -> BoolArray:
        """Which hosts have *word*."""
        has = np.fromiter((word in words for words in self._sets), dtype=np.bool_, count=len(self._sets))
        return has.take(self._codes)

    def take(self, places: IntArray) -> LabelColumn:
        """The column of *places* only."""
        return LabelColumn(self._codes[places], self._sets)

    def replaced(self, places: IntArray, each: Sequence[frozenset[str]]) -> LabelColumn:
        """A column with new sets at *places*."""
        numbers = {words: number for number, words in enumerate(self._sets)}
        codes = self._codes.copy()
        codes[places] = [numbers.setdefault(words, len(numbers)) for words in each]
        return LabelColumn(codes, tuple(numbers))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostTable:
    """The fleet, sorted by name. Every array has one place a host; ``total`` and ``free`` one line a :class:`Resource`.

    ``row`` says which host of the fleet a place is: in the fleet's own table 0, 1, 2 …; in a table made by
    :meth:`take` a host may stand at several places.  ``free`` is negative where a host is overdrawn (its
    inventory shrank).  ``largest`` is the largest total of each resource in the fleet: the unit in which
    weighers measure.
    """

    names: tuple[str, ...]  # by row, as ``reasons``
    reasons: tuple[str, ...]  # why hosts are disabled
    rows: dict[str, int]  # by name
    row: IntArray
    enabled: BoolArray
    up: BoolArray
    total: IntArray
    free: IntArray
    largest: IntArray
    architecture: LabelColumn
    virt_types: LabelColumn
    traits: LabelColumn

    @classmethod
    def build(cls, rows: Iterable[HostRow]) -> HostTable:
        """A table of the whole fleet."""
        ordered = sorted(rows, key=lambda row: row.host)
        facts = _Facts(ordered)
        names = tuple(row.host for row in ordered)
        return cls(
            names=names,
            reasons=tuple(row.disabled_reason for row in ordered),
            rows={name: number for number, name in enumerate(names)},
            row=np.arange(len(ordered), dtype=np.int64),
            enabled=facts.enabled,
            up=facts.up,
            total=facts.total,
            free=facts.free,
            largest=_largest(facts.total),
            architecture=LabelColumn.of(facts.architecture),
            virt_types=LabelColumn.of(facts.virt_types),
            traits=LabelColumn.of(facts.traits),
        )

    def with_rows(self, rows: Sequence[HostRow]) -> HostTable:
        """The fleet with newer facts about some of its hosts.

        :raises KeyError: a row's host is not in the table.
        """
        facts = _Facts(rows)
        places = np.array([self.rows[row.host] for row in rows], dtype=np.int64)
        reasons = list(self.reasons)
        for place, row in zip(places.tolist(), rows, strict=True):
            reasons[place] = row.disabled_reason
        total = _replaced(self.total, places, facts.total)
        return dataclasses.replace(
            self,
            reasons=tuple(reasons),
            enabled=_replaced(self.enabled, places, facts.enabled),
            up=_replaced(self.up, places, facts.up),
            total=total,
            free=_replaced(self.free, places, facts.free),
            largest=_largest(total),
            architecture=self.architecture.replaced(places, facts.architecture),
            virt_types=self.virt_types.replaced(places, facts.virt_types),
            traits=self.traits.replaced(places, facts.traits),
        )

    def with_free(self, free: IntArray) -> HostTable:
        """The same hosts with other amounts free; *free* is kept, not copied."""
        return dataclasses.replace(self, free=free)

    def take(self, places: IntArray, free: IntArray) -> HostTable:
        """Only *places*, in that order and as often as they are named, with *free* there."""
        return dataclasses.replace(
            self,
            row=self.row[places],
            enabled=self.enabled[places],
            up=self.up[places],
            total=self.total[:, places],
            free=free,
            architecture=self.architecture.take(places),
            virt_types=self.virt_types.take(places),
            traits=self.traits.take(places),
        )

    def __len__(self) -> int:
        return len(self.row)

    def name(self, place: int) -> str:
        return self.names[int(self.row[place])]

    def disabled_reason(self, place: int) -> str:
        return self.reasons[int(self.row[place])]

    def is_host(self, name: str) -> BoolArray:
        """Where *name* stands; nowhere if the fleet has no such host."""
        found: BoolArray = np.equal(self.row, self.rows.get(name, -1))
        return found

    def fits(self, resource: Resource, amount: int) -> BoolArray:
        """Where *amount* is free. Nothing always fits, also on a host that is overdrawn."""
        if amount == 0:
            return np.ones(len(self), dtype=np.bool_)
        enough: BoolArray = np.greater_equal(self.free[resource], amount)
        return enough

    def share_free(self, resource: Resource) -> FloatArray:
        """Free amounts from 0 to 1: as a share of the fleet's largest host."""
        share: FloatArray = np.maximum(self.free[resource], 0) * (1.0 / self.largest[resource])
        return share


class _Facts:
    """Rows turned into columns; JSON that many rows share is decoded once."""

    def __init__(self, rows: Sequence[HostRow]) -> None:
        self._decoded: dict[str, frozenset[str]] = {}
        self.enabled = np.array([row.enabled for row in rows], dtype=np.bool_)
        self.up = np.array([row.up for row in rows], dtype=np.bool_)
        self.total = _matrix([(row.total_vcpus, row.total_memory_mib, row.total_disk_gib) for row in rows])
        self.free = self.total - _matrix([(row.used_vcpus, row.used_memory_mib, row.used_disk_gib) for row in rows])
        self.architecture = [frozenset((row.architecture,)) for row in rows]
        self.virt_types = [self._words(row.virt_types) for row in rows]
        self.traits = [self._words(row.traits) for row in rows]

    def _words(self, text: str) -> frozenset[str]:
        words = self._decoded.get(text)
        if words is None:
            words = self._decoded[text] = codec.from_json(text, frozenset[str])
        return words


def _matrix(lines: list[tuple[int, int, int]]) -> IntArray:
    return np.ascontiguousarray(np.array(lines, dtype=np.int64).reshape(-1, len(Resource)).T)


def _largest(total: IntArray) -> IntArray:
    largest: IntArray = np.maximum(total.max(axis=1, initial=0), 1)
    return largest


def _replaced(array: NDArray[Any], places: IntArray, values: NDArray[Any]) -> NDArray[Any]:
    changed = array.copy()
    changed[..., places] = values
    return changed

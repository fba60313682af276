"""Columns of values that many hosts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "LabelColumn", "SharedColumn"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

T = TypeVar("T")


class SharedColumn(Generic[T]):
    """A value for each host. Equal values stand once: a host keeps only the number of its value.

    So a question about a value is asked once for all hosts that have it.
    """

    __slots__ = ("_codes", "_values")

    def __init__(self, codes: NDArray[np.intp], values: tuple[T, ...]) -> None:
        self._codes = codes
        self._values = values

    @classmethod
    def of(cls, each: Sequence[T]) -> Self:
        """A column with the value of each host in turn."""
        numbers: dict[T, int] = {}
        codes = [numbers.setdefault(value, len(numbers)) for value in each]
        return cls(np.array(codes, dtype=np.intp), tuple(numbers))

    @property
    def values(self) -> tuple[T, ...]:
        """The values that hosts have, or had."""
        return self._values

    def __getitem__(self, place: int) -> T:
        return self._values[int(self._codes[place])]

    def where(self, test: Callable[[T], bool]) -> BoolArray:
        """The hosts whose value passes *test*."""
        codes, values = self._asked()
        return np.fromiter(map(test, values), dtype=np.bool_, count=len(values)).take(codes)

    def measured(self, measure: Callable[[T], float]) -> FloatArray:
        """The number that *measure* gives for each host's value."""
        codes, values = self._asked()
        return np.fromiter(map(measure, values), dtype=np.float64, count=len(values)).take(codes)

    def _asked(self) -> tuple[NDArray[np.intp], Sequence[T]]:
        """Codes, and the values they number: of a small part of the fleet not more than it has places."""
        if len(self._values) <= len(self._codes):
            return self._codes, self._values
        return np.arange(len(self._codes)), [self._values[code] for code in self._codes.tolist()]

    def take(self, places: IntArray) -> Self:
        """The column of *places* only."""
        return type(self)(self._codes[places], self._values)

    def replaced(self, places: IntArray, each: Sequence[T]) -> Self:
        """A column with new values at *places*."""
        numbers = {value: number for number, value in enumerate(self._values)}
        codes = self._codes.copy()
        codes[places] = [numbers.setdefault(value, len(numbers)) for value in each]
        changed = type(self)(codes, tuple(numbers))
        # Values that no host has any more would otherwise gather until every question is asked of them too.
        return changed if len(numbers) <= 2 * len(codes) else type(self).of([changed[n] for n in range(len(codes))])


class LabelColumn(SharedColumn[frozenset[str]]):
    """A set of words for each host: its virt types, its traits, the images it has."""

    __slots__ = ()

    def having(self, word: str) -> BoolArray:
        """Which hosts have *word*."""
        return self.where(lambda words: word in words)

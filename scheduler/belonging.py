"""The aggregates of a host, merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from drover.objects import codec
from drover.objects.group import DEFAULT_ZONE, HostAggregate
from scheduler.column import FloatArray, SharedColumn

__all__ = ["AggregateColumn", "Belonging"]


@dataclass(frozen=True, slots=True)
class Belonging:
    """What the aggregates of a host say together: of one key each value that any of them gives.

    A value is a list with commas, as in Nova.  Two that came from the same *text* are equal.
    """

    text: str
    zones: frozenset[str] = field(compare=False)
    metadata: dict[str, frozenset[str]] = field(compare=False)

    @classmethod
    def of(cls, text: str) -> Belonging:
        """:param text: JSON list of :class:`HostAggregate`."""
        aggregates = codec.from_json(text, tuple[HostAggregate, ...])
        merged: dict[str, set[str]] = {}
        for each in aggregates:
            for key, value in each.metadata.items():
                merged.setdefault(key, set()).update(word.strip() for word in value.split(","))
        return cls(
            text=text,
            zones=frozenset(each.availability_zone for each in aggregates if each.availability_zone)
            or frozenset((DEFAULT_ZONE,)),
            metadata={key: frozenset(words) for key, words in merged.items()},
        )

    def number(self, key: str, default: float) -> float:
        """The least number under *key*, as in Nova; *default* where there is none or a word that is no number."""
        try:
            return min(map(float, self.metadata.get(key, ())), default=default)
        except ValueError:
            return default


class AggregateColumn(SharedColumn[Belonging]):
    """What each host belongs to."""

    __slots__ = ()

    def speak_of(self, keys: Iterable[str]) -> bool:
        """Whether any aggregate has metadata under one of *keys*."""
        wanted = tuple(keys)
        return any(key in each.metadata for each in self.values for key in wanted)

    def numbers(self, key: str, default: float) -> FloatArray | float:
        """:meth:`Belonging.number` of each host; one number where no aggregate has *key*."""
        if not self.speak_of((key,)):
            return default
        return self.measured(lambda each: each.number(key, default))

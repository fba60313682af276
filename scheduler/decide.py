"""Where requests go: a pure function from a table of hosts and a list of requests to a list of choices.

A batch is placed as if its requests came one by one, in order: each choice uses up room that the next one no
longer sees.  Equal requests that follow one another are placed in one pass, which costs microseconds each
where asking every filter about the whole fleet again costs a hundred times that.

What ties requests to one another is resolved here, never in a filter: members of a server group that this batch
placed, and hardware that it gave away.
"""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from drover.objects.group import GroupPolicy
from drover.runtime import Random
from scheduler.host_table import BoolArray, FloatArray, HostTable, IntArray, amounts
from scheduler.plugin import Chain, Filter
from scheduler.spec import PlacementSpec

__all__ = ["Choice", "Limits", "Report", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a choice tells, and from how many hosts it is made."""

    alternates: int = 3  # further hosts
    weighed: int = 5  # hosts whose weights are kept
    explained: int = 200  # hosts whose refusal is put in words when no host is left
    explained_beside: int = 10  # the same when there is one: words cost more than placing
    subset: int = 1  # chance chooses among so many of the best
    chance: Random | None = None

    def pick(self, most: int) -> int:
        """Which of the best *most* to take."""
        return self.chance.randrange(min(self.subset, most)) if self.chance is not None and self.subset > 1 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was seen, in the form of :class:`drover.objects.operation.Decision`.

    Equal requests placed in one pass share the report of the first.
    """

    funnel: tuple[tuple[str, int], ...]
    refused: tuple[tuple[str, str, str], ...]
    weights: tuple[tuple[str, dict[str, float], float], ...] = ()
    refusals: bytes = b""  # every host's first refusal (scheduler.refusal)
    short: str = ""  # see Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The best host, "" when none may take the request, and the next best at that moment, best first."""

    host: str
    alternates: tuple[str, ...] = ()
    report: Report


def decide(table: HostTable, specs: Sequence[PlacementSpec], chain: Chain, limits: Limits) -> list[Choice]:
    """One choice a request, in their order. *table* stays as it is.

    Of equally good hosts the first by name wins, unless ``limits`` leave it to chance: then schedulers that decide
    at the same time do not all want the same host.
    """
    fleet = table.scratch()
    groups: dict[str, Counter[str]] = {}  # members that this batch placed, by group and host
    refused: dict[PlacementSpec, Choice] = {}  # a batch only takes room: what fits nowhere fits nowhere later in it
    choices: list[Choice] = []
    for spec, equal in groupby(specs):
        left = sum(1 for _ in equal)
        while left:
            now = _with_members(spec, groups)
            if refused and (again := refused.get(now)) is not None:
                choices += [again] * left
                break
            count = 1 if _changes_its_own_rule(now) else left
            fleet, placed = _place(fleet, now, count, chain.asked(fleet, now), limits)
            if now.group is not None:
                groups.setdefault(now.group.id, Counter()).update(each.host for each in placed if each.host)
            if not placed[-1].host:
                refused[now] = placed[-1]
                placed += placed[-1:] * (left - len(placed))
            choices += placed
            left -= len(placed)
    return choices


def _with_members(spec: PlacementSpec, groups: dict[str, Counter[str]]) -> PlacementSpec:
    """The request with the members of its group as they are now."""
    placed = groups.get(spec.group.id) if spec.group is not None else None
    if spec.group is None or not placed:
        return spec
    members = Counter(dict(spec.group.hosts)) + placed
    return dataclasses.replace(spec, group=dataclasses.replace(spec.group, hosts=tuple(sorted(members.items()))))


def _changes_its_own_rule(spec: PlacementSpec) -> bool:
    """Whether a placement changes what the next equal request asks, or more of its host than amounts."""
    first = spec.group is not None and spec.group.policy is GroupPolicy.AFFINITY and not spec.group.hosts
    return first or bool(spec.hardware)


def _place(
    fleet: HostTable, spec: PlacementSpec, count: int, chain: Chain, limits: Limits
) -> tuple[HostTable, list[Choice]]:
    """Place up to *count* equal requests, at least one; answers the fleet afterwards, which may be *fleet* itself."""
    if spec.group is not None:
        fleet.set_members(dict(spec.group.hosts))
    sieve = _Sieve(fleet, spec, chain)
    if not sieve.left:
        return fleet, [Choice(host="", report=sieve.report(limits.explained))] * count
    weights = _Weights(fleet, spec, chain)
    # Each placement changes one host, so so many of the best of now hold every host that can be named.
    best = _best(weights.total, sieve, count + max(limits.alternates, limits.subset - 1))
    report = sieve.report(limits.explained_beside, weights.parts(best[: limits.weighed]))
    standing = [(float(weights.total[place]), -place) for place in reversed(best)]  # worst first
    names = {place: fleet.name(place) for place in best}
    ladder = _Ladder(fleet, spec, chain, count)
    ladder.look_ahead(best)
    choices: list[Choice] = []
    placed: Counter[int] = Counter()
    while standing and len(choices) < count:
        place = -standing.pop(-1 - limits.pick(len(standing)))[1]
        alternates = tuple(names[-other] for _, other in standing[: -limits.alternates - 1 : -1])
        choices.append(Choice(host=names[place], alternates=alternates, report=report))
        placed[place] += 1
        if len(choices) < count and (weight := ladder.weight(place, placed[place])) is not None:
            insort(standing, (weight, -place))
    fleet.occupy(np.array([*placed]), ladder.ask, np.array([*placed.values()]))
    if spec.hardware:  # such requests are placed one at a time
        fleet = fleet.with_hardware(place, fleet.hardware[place].given(spec.hardware))
    return fleet, choices


class _Sieve:
    """The filters' answers about a table: who is left, and how many after each."""

    def __init__(self, table: HostTable, spec: PlacementSpec, chain: Chain) -> None:
        self._table, self._spec, self._chain = table, spec, chain
        self._funnel = [("all", len(table))]
        self.passed: BoolArray = np.ones(len(table), dtype=np.bool_)
        self._refusals = np.zeros(len(table), dtype=np.uint8)  # which of _refusers was the first
        self._refusers: list[Filter] = []
        for each in chain.filters:
            self.passed &= each.mask(table, spec)
            left = int(np.count_nonzero(self.passed))
            if left < self.left:
                self._refusals += self.passed.view(np.uint8)
                self._refusers.append(each)
            self._funnel.append((each.name, left))

    @property
    def left(self) -> int:
        """How many hosts passed every filter."""
        return self._funnel[-1][1]

    def report(self, explained: int, weights: tuple[tuple[str, dict[str, float], float], ...] = ()) -> Report:
        refused = []
        places = self._refused(explained)
        for place, number in zip(places.tolist(), self._refusals[places].tolist(), strict=True):
            refuser = self._refusers[number]
            words = refuser.explain(self._table, place, self._spec)
            refused.append((self._table.name(place), refuser.name, words))
        return Report(
            funnel=tuple(self._funnel),
            refused=tuple(refused),
            weights=weights,
            refusals=self._refusals.tobytes(),
        )

    def _refused(self, most: int) -> IntArray:
        """The first *most* places that did not pass; looks no further than it must."""
        end = 8 * most if self.left < len(self.passed) else 0
        while True:
            places = np.flatnonzero(~self.passed[:end])[:most]
            if len(places) == most or end >= len(self.passed) or not end:
                return places
            end *= 8


class _Weights:
    """The weighers' answers about a table. An aggregate's metadata may give its hosts another multiplier."""

    def __init__(self, table: HostTable, spec: PlacementSpec, chain: Chain) -> None:
        self._table = table
        self._each = [
            (
                each.name,
                table.aggregates.numbers(f"{each.name}_weight_multiplier", multiplier) * each.weigh(table, spec),
            )
            for each, multiplier in chain.weighers
        ]
        self.total: FloatArray = np.zeros(len(table), dtype=np.float64)
        for _, weights in self._each:
            self.total += weights
        if not np.isfinite(self.total.sum()):  # a weigher's nonsense must not make hosts incomparable
            np.nan_to_num(self.total, copy=False)

    def parts(self, places: list[int]) -> tuple[tuple[str, dict[str, float], float], ...]:
        return tuple(
            (
                self._table.name(place),
                {name: float(weights[place]) for name, weights in self._each},
                float(self.total[place]),
            )
            for place in places
        )


#: up to so many, looking for the best again and again is cheaper than sorting
_FEW = 8


def _best(weights: FloatArray, sieve: _Sieve, count: int) -> list[int]:
    """The best *count* places that passed, best first; of equals the first by name."""
    places = np.flatnonzero(sieve.passed)
    left = weights[places]
    if count <= min(_FEW, len(places)):
        return [int(places[_take_best(left)]) for _ in range(count)]
    if count < len(places):
        last = np.partition(left, len(left) - count)[len(left) - count]
        better = np.flatnonzero(left > last)
        equal = np.flatnonzero(left == last)[: count - len(better)]
        kept = np.concatenate((better, equal))
        places, left = places[kept], left[kept]
    best: list[int] = places[np.lexsort((places, -left))].tolist()
    return best


def _take_best(weights: FloatArray) -> int:
    best = int(weights.argmax())
    weights[best] = -np.inf
    return best


class _Ladder:
    """What hosts would weigh with one, two, three … more of the same guests, worked out for many at a time."""

    _MOST = 64  # steps of one host worked out at once

    def __init__(self, fleet: HostTable, spec: PlacementSpec, chain: Chain, count: int) -> None:
        self._fleet, self._spec, self._chain, self._count = fleet, spec, chain, count
        self.ask = amounts(spec.resources)
        self._steps: dict[int, list[float | None]] = {}  # by place, the next step last

    def look_ahead(self, places: list[int]) -> None:
        """Prepare for *count* placements spread over *places*."""
        if self._count > 1:
            self._climb(np.array(places), min(2 * self._count // len(places) + 3, self._MOST), made=1)

    def weight(self, place: int, made: int) -> float | None:
        """The weight of the host at *place* with *made* more guests; None when it takes no more after them.

        To be asked once after each placement there.
        """
        if not self._steps.get(place):
            self._climb(np.array([place]), min(self._count, self._MOST), made=made)
        return self._steps[place].pop()

    def _climb(self, places: IntArray, steps: int, *, made: int) -> None:
        """Imagine *places* with *made*, *made* + 1 … further guests, *steps* of them, and ask about all at once."""
        imagined = np.repeat(places, steps)
        guests = np.tile(np.arange(made, made + steps, dtype=np.int64), len(places))
        table = self._fleet.imagined(imagined, self.ask, guests)
        passed = _Sieve(table, self._spec, self._chain).passed.reshape(-1, steps).tolist()
        weights = _Weights(table, self._spec, self._chain).total.reshape(-1, steps).tolist()
        for place, ok, weighed in zip(places.tolist(), passed, weights, strict=True):
            climbed = [weight if may else None for weight, may in zip(weighed, ok, strict=True)]
            self._steps[place] = climbed[::-1]

"""What a client of the run does next: a pure choice by the states table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from drover.runtime.runtime import Random
from drover.states import VERBS, Action, RestartPolicy, VmState, allowed

__all__ = ["Change", "Move", "Seen", "Verb", "choose", "label", "legal", "pick"]

T = TypeVar("T")


class Change(StrEnum):
    """What is asked of an instance's record alone, and is done with the answer."""

    LOCK = "lock"
    UNLOCK = "unlock"
    RENAME = "rename"


Verb = Action | Change

#: how often a verb is chosen where it is legal, against the others. What leads back to active is chosen more often
#: than what leads away, or soon nothing runs.
WEIGHTS: Mapping[Verb, int] = {
    Action.DELETE: 3,
    Action.START: 10,
    Action.STOP: 4,
    Action.REBOOT: 5,
    Action.PAUSE: 3,
    Action.UNPAUSE: 10,
    Action.SUSPEND: 3,
    Action.RESUME: 10,
    Action.REBUILD: 2,
    Action.RESCUE: 2,
    Action.UNRESCUE: 10,
    Action.SNAPSHOT: 2,
    Action.SHELVE: 2,
    Action.UNSHELVE: 10,
    Action.RESTORE: 6,
    Change.LOCK: 1,
    Change.UNLOCK: 10,
    Change.RENAME: 1,
}
#: share of moves on an instance that another client is at
_RACES = 0.1
#: share of those that delete it
_SUPERSEDES = 0.3
#: share of moves on a locked instance that are to be refused
_REFUSED = 0.2
#: most instances of one build request
_MOST_AT_ONCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An instance as the run knows it."""

    uuid: str
    name: str
    vm_state: VmState
    locked: bool = False
    busy: bool = False  # a client of the run is at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One request. A build has no *target*, and *count* instances of the policy *restart*."""

    verb: Verb
    target: Seen | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    restart: RestartPolicy = RestartPolicy.NEVER

    @property
    def label(self) -> str:
        return label(self.verb, self.params)


def label(verb: Verb, params: Mapping[str, str]) -> str:
    """The verb in a report: a hard reboot is another thing than a soft one."""
    return f"{verb.value} {params['type']}" if "type" in params else verb.value


def pick(chance: Random, values: Sequence[T], weights: Sequence[int] = ()) -> T:
    """One of *values*, all alike or by *weights*."""
    if not weights:
        return values[chance.randrange(len(values))]
    left = chance.randrange(sum(weights))
    for value, weight in zip(values, weights, strict=True):
        left -= weight
        if left < 0:
            return value
    raise AssertionError("the weights add up")


def choose(
    chance: Random, seen: Sequence[Seen], building: int, wanted: int, dropped: Collection[Verb] = ()
) -> Move | None:
    """The next move; None: there is nothing to do just now.

    :param seen: the run's instances, in the order of their making.
    :param building: instances that were asked for and are not among *seen* yet.
    :param wanted: so many instances the run keeps.
    :param dropped: verbs that the fleet does not know.
    """
    missing = wanted - len(seen) - building
    if missing > 0 and chance.random() * wanted < 2 * missing:
        restart = pick(chance, tuple(RestartPolicy))
        return Move(verb=Action.BUILD, count=1 + chance.randrange(min(missing, _MOST_AT_ONCE)), restart=restart)
    idle = [one for one in seen if not one.busy]
    busy = [one for one in seen if one.busy]
    if busy and chance.random() < _RACES:
        return _race(chance, pick(chance, busy), dropped)
    return _move(chance, pick(chance, idle), dropped) if idle else None


def _race(chance: Random, target: Seen, dropped: Collection[Verb]) -> Move | None:
    if chance.random() < _SUPERSEDES and Action.DELETE not in dropped:
        return _with_params(chance, Action.DELETE, target)
    return _move(chance, target, dropped)


def _move(chance: Random, target: Seen, dropped: Collection[Verb]) -> Move | None:
    verbs = [verb for verb in legal(target) if verb not in dropped]
    if target.locked and chance.random() < _REFUSED:
        verbs = [verb for verb in legal(_unlocked(target)) if isinstance(verb, Action) and verb not in dropped]
    if not verbs:
        return None
    return _with_params(chance, pick(chance, verbs, [WEIGHTS[verb] for verb in verbs]), target)


def _unlocked(target: Seen) -> Seen:
    return Seen(uuid=target.uuid, name=target.name, vm_state=target.vm_state)


def legal(target: Seen) -> list[Verb]:
    """The verbs of the run that may begin on *target* when nothing else is at it."""
    if target.locked:
        return [Change.UNLOCK]
    return [
        *(verb for verb in VERBS if verb in WEIGHTS and allowed(verb, target.vm_state)),
        Change.LOCK,
        Change.RENAME,
    ]


def _with_params(chance: Random, verb: Verb, target: Seen) -> Move:
    params: dict[str, str] = {}
    if verb is Action.REBOOT:
        soft = target.vm_state is VmState.ACTIVE and chance.random() < 0.5
        params["type"] = "soft" if soft else "hard"
    elif verb is Action.DELETE and chance.random() < 0.7:
        params["force"] = "true"
    return Move(verb=verb, target=target, params=params)

"""A whole trial as one value: the fleet, what users ask, and everything that goes wrong.

A plan printed by ``repr`` is Python that makes it again, so a failure found by chance becomes a named test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from drover.states import Action

__all__ = ["Fate", "Fault", "Kind", "Mishap", "Plan", "Request", "Spell"]


class Kind(StrEnum):
    """What happens to a process, a host or the fleet, at a time."""

    KILL = "kill"  # a process dies and is back after ``for_s``
    STOP = "stop"  # a process is asked to end, and is back after ``for_s``
    FREEZE = "freeze"  # a process stands still for ``for_s`` (SIGSTOP); clocks go on
    STALL = "stall"  # its whole machine does, clocks and all
    CUT = "cut"  # no message reaches or leaves the process
    BROKER = "broker"  # the broker is down
    DATABASE = "database"  # the database is down, for all or for one ``target``
    HYPERVISOR = "hypervisor"  # a host's hypervisor does not answer
    CRASH = "crash"  # a host loses power and boots ``for_s`` later
    GUEST = "guest"  # one guest of a host dies by itself
    SKEW = "skew"  # the wall clock of a process's machine jumps by ``amount`` seconds
    WIPE = "wipe"  # a host's agent loses its state directory; an operator adopts the host after ``for_s``
    CLONE = "clone"  # a copy of the host (disk, state directory, name) boots beside it, for ``for_s``
    TWIN = "twin"  # a second agent with a copy of the state directory runs on the same machine, for ``for_s``
    RESTORE = "restore"  # the database as it was at ``at_s`` is put in its place ``for_s`` later, and settled
    UNSETTLED = "unsettled"  # the same, and it is settled only once a conductor has raised the alarm


class Fate(StrEnum):
    """What becomes of one message or transaction."""

    DROP = "drop"  # the message is lost (a lost reply is an effect nobody hears of)
    DELAY = "delay"  # it arrives ``seconds`` later, after what was sent after it
    DUPLICATE = "duplicate"
    KILL = "kill"  # it happens, and the sender is dead at once, for ``seconds``
    REFUSE = "refuse"  # the transaction does not begin: no connection
    BUSY = "busy"  # it loses against another one and is rolled back
    LOSE = "lose"  # the transaction is committed and the connection breaks before anybody says so


class _Short:
    """``repr`` without what is as it would be anyway."""

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={_shown(value)}"
            for field in fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: object) -> str:
    return f"{type(value).__name__}.{value.name}" if isinstance(value, StrEnum) else repr(value)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Request(_Short):
    """What a user asks of instance *name*, in order of ``at_s``; a build makes *count* of them.

    *flavor* and *group* are among those of :func:`tests.simulation.admin.prepare`.
    """

    at_s: float
    name: str
    action: Action
    count: int = 1
    params: tuple[tuple[str, str], ...] = ()
    wait: bool = True  # for the end of the one before
    flavor: str = "small"
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fault(_Short):
    at_s: float
    kind: Kind
    target: str = ""
    for_s: float = 0.0
    amount: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Spell(_Short):
    """Bad weather: chances per message and transaction. :func:`tests.simulation.trial.pinned` makes mishaps of it."""

    at_s: float
    for_s: float
    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    longest_s: float = 0.0
    kill: float = 0.0
    refuse: float = 0.0
    busy: float = 0.0
    lose: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Mishap(_Short):
    """The fate of the *nth* message or transaction of a channel: ``"h1>conductor sync"``, ``"c1>database write"``."""

    channel: str
    nth: int
    fate: Fate
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plan(_Short):
    """``seed`` decides who runs next at each switch point, and nothing else."""

    seed: int
    hosts: int = 3
    conductors: int = 2
    schedulers: int = 2
    sync_interval_s: float = 8.0
    reclaim_s: float = 0.0  # how long deleted instances can be restored
    requests: tuple[Request, ...] = ()
    faults: tuple[Fault, ...] = ()
    spells: tuple[Spell, ...] = ()
    mishaps: tuple[Mishap, ...] = ()

    def ends_s(self) -> float:
        """When the last fault is over."""
        return max((end for end, _ in self._times()), default=0.0)

    def broken_s(self) -> float:
        """How long things are broken, added up."""
        return sum(lasts for _, lasts in self._times())

    def _times(self) -> Iterator[tuple[float, float]]:
        """(end, length) of all faults and spells."""
        yield from ((fault.at_s + fault.for_s, fault.for_s) for fault in self.faults)
        yield from ((spell.at_s + spell.for_s, spell.for_s) for spell in self.spells)

    def has(self, *kinds: Kind) -> bool:
        """Whether a fault of one of *kinds* is in it."""
        return any(fault.kind in kinds for fault in self.faults)

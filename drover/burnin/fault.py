"""Which part of a lab is hit next, and how: a seeded plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drover.burnin.plan import pick
from drover.lab.spec import Driver
from drover.runtime.runtime import Random

__all__ = ["FREEZES", "PAUSE_S", "Deck", "Fault", "Kind", "kinds_of", "targets"]


class Kind(StrEnum):
    """What is done to what."""

    KILL_CONDUCTOR = "kill conductor"
    KILL_SCHEDULER = "kill scheduler"
    KILL_AGENT = "kill agent"
    KILL_LIBVIRTD = "kill libvirtd"
    KILL_VIRTLOGD = "kill virtlogd"
    KILL_LINK = "kill link"
    KILL_RELAY = "kill relay"
    KILL_RABBITMQ = "kill rabbitmq"
    KILL_POSTGRESQL = "kill postgresql"
    KILL_GUEST = "kill guest"
    CRASH_HOST = "crash host"
    CUT_HOST = "cut host"
    FREEZE_AGENT = "freeze agent"
    FREEZE_LIBVIRTD = "freeze libvirtd"


#: the part that a kind hits: a part's name without its number, or what follows its host's name
_PARTS: Mapping[Kind, str] = {
    Kind.KILL_CONDUCTOR: "conductor",
    Kind.KILL_SCHEDULER: "scheduler",
    Kind.KILL_AGENT: ".agent",
    Kind.KILL_LIBVIRTD: ".libvirtd",
    Kind.KILL_VIRTLOGD: ".virtlogd",
    Kind.KILL_LINK: ".link",
    Kind.KILL_RELAY: "relay",
    Kind.KILL_RABBITMQ: "rabbitmq",
    Kind.KILL_POSTGRESQL: "postgresql",
    Kind.FREEZE_AGENT: ".agent",
    Kind.FREEZE_LIBVIRTD: ".libvirtd",
}
_HOSTS = frozenset({Kind.CRASH_HOST, Kind.CUT_HOST})
FREEZES = frozenset({Kind.FREEZE_AGENT, Kind.FREEZE_LIBVIRTD})
#: parts of hosts that only one kind of lab has
_OF_LIBVIRT = frozenset({Kind.KILL_LIBVIRTD, Kind.KILL_VIRTLOGD, Kind.KILL_RELAY, Kind.FREEZE_LIBVIRTD})
_OF_FAKE = frozenset({Kind.KILL_LINK})

#: seconds between two faults, and how long one lasts before it is mended
PAUSE_S = (4.0, 8.0)
_HOLD_S = (0.0, 6.0)


def kinds_of(driver: Driver) -> tuple[Kind, ...]:
    """Those that a lab of *driver* can have."""
    absent = _OF_FAKE if driver is Driver.LIBVIRT else _OF_LIBVIRT
    return tuple(kind for kind in Kind if kind not in absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """*target* is a part of the lab, a host, or a guest's uuid. It lasts *hold_s*."""

    kind: Kind
    target: str
    hold_s: float


class Deck:
    """Deals every kind before it deals one a second time: rare kinds are what the others hide."""

    def __init__(self, kinds: Sequence[Kind], chance: Random) -> None:
        self._kinds = tuple(kinds)
        self._chance = chance
        self._left: list[Kind] = []

    def deal(self, found: Callable[[Kind], Sequence[str]]) -> Fault | None:
        """The next fault; kinds that *found* has no target for wait. None: there is none for any."""
        for fresh in (False, True):
            if fresh:
                self._left = list(self._kinds)
            possible = [kind for kind in self._left if found(kind)]
            if possible:
                kind = pick(self._chance, possible)
                self._left.remove(kind)
                target = pick(self._chance, found(kind))
                return Fault(kind=kind, target=target, hold_s=self._chance.uniform(*_HOLD_S))
        return None


def targets(kind: Kind, parts: Collection[str], hosts: Collection[str], held: Collection[str]) -> list[str]:
    """What *kind* may hit: neither anything that a fault holds already, nor anything of a host that one holds.

    :param parts: names of parts that run.
    """
    if kind in _HOSTS:
        return [host for host in hosts if not any(_host_of(name) == host for name in held)]
    wanted = _PARTS[kind]
    return [
        part
        for part in parts
        if (part.endswith(wanted) if wanted.startswith(".") else part.rstrip("0123456789") == wanted)
        and part not in held
        and _host_of(part) not in held
    ]


def _host_of(part: str) -> str:
    return part.partition(".")[0]

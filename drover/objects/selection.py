"""Questions to a scheduler that change nothing: where would it go, how many fit, why not there, what evens out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from drover.objects.group import Hints
from drover.objects.operation import Decision

__all__ = [
    "Capacity",
    "HostCapacity",
    "HostExplanation",
    "Move",
    "RebalancePlan",
    "Selection",
    "SelectionReply",
    "SelectionRequest",
    "Then",
    "Verdict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """*count* equal instances that nobody builds. References are names or ids; in the hints too."""

    flavor: str
    image: str = ""  # "": one that asks for nothing
    hints: Hints = field(default_factory=Hints)
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Where one instance would go, and where else if that room was lost to another claim, best first."""

    host: str
    alternates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionReply:
    """*selections* in order; the request's other instances fit nowhere, and *refusal* says why."""

    selections: tuple[Selection, ...]
    first: Decision | None = None  # of the first selection
    refusal: Decision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """How many more fit on a host. *refuser* is the filter that refuses the next; its words are kept for some hosts."""

    host: str
    count: int
    refuser: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many more equal instances the fleet takes. *complete* is false when counting ended at its bound."""

    count: int
    complete: bool
    hosts: tuple[HostCapacity, ...] = ()  # those with room, the roomiest first, bounded
    roomy: int = 0  # how many hosts have room
    full: tuple[tuple[str, int], ...] = ()  # when all is full: (filter, hosts it refuses first), most first


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What a kept decision says of one host."""

    attempt: int
    at: datetime
    outcome: str  # chosen | passed | refused | unknown
    refuser: str = ""  # the first filter that refused it
    words: str = ""  # "": not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One filter's answer about a host; "" means that it lets the host pass."""

    filter: str
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostExplanation:
    """How a host stands to a request: then, by each kept decision, and now, by every rule."""

    host: str
    then: tuple[Then, ...] = ()
    verdicts: tuple[Verdict, ...] = ()  # in the order of the filters
    weights: dict[str, float] = field(default_factory=dict)  # weigher: normalised × multiplier
    total: float = 0.0
    passed: int = 0  # hosts that pass every filter now
    better: int = 0  # those of them that weigh more than this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of a plan. Spreads are those of the whole fleet."""

    instance_uuid: str
    instance_name: str
    source: str
    destination: str
    why: str
    spread_before: float
    spread_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RebalancePlan:
    """Moves in order. A spread is the root mean square distance of the hosts' used shares from the fleet's mean share,
    of vCPUs, memory and disk together: 0 is even."""

    moves: tuple[Move, ...]
    hosts: int  # that take part: up, enabled and not being emptied
    spread_before: float
    spread_after: float
    complete: bool  # no further move is worth its cost; false: the bound on moves was reached

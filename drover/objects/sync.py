"""The one level-triggered conversation between an agent and the conductor (DESIGN §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from drover.objects.guest import GuestSpec, ImageSource, UploadTarget
from drover.objects.host import HostUsage, Inventory
from drover.objects.instance import InstanceUsage
from drover.objects.operation import ErrorInfo, StepRecord
from drover.states import Action, PowerState, Verdict

__all__ = [
    "Ack",
    "Begun",
    "Drop",
    "Gone",
    "Held",
    "Leaving",
    "Observation",
    "Order",
    "Outcome",
    "Permit",
    "Remains",
    "Result",
    "SyncReply",
    "SyncRequest",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Work for a host. ``spec`` is set for every action: the host may have lost its memory."""

    operation_id: str
    attempt: int
    action: Action
    instance_uuid: str
    epoch: int
    params: dict[str, str] = field(default_factory=dict)
    spec: GuestSpec | None = None  # absent only for a delete whose records are thin
    rescue_image: ImageSource | None = None  # what a rescue boots
    upload: UploadTarget | None = None  # of a snapshot or shelve: where the disk goes
    budget_s: float = 600.0  # counted from receipt, by the agent's own monotonic clock
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The agent has this order in memory (queued or running)."""

    operation_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The agent began (moves dispatched → running); with ``permit`` it asks leave to start the domain.

    Repeated in every sync until answered; the answer is in :attr:`SyncReply.permits`.
    """

    operation_id: str
    attempt: int
    permit: bool = False


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of an order on this host. Repeated until acknowledged.

    ``clean``: nothing of (instance, epoch ≤ this) is left on the host; releases the placement.
    """

    operation_id: str
    attempt: int
    instance_uuid: str
    epoch: int
    outcome: Outcome
    clean: bool = False
    power_state: PowerState = PowerState.UNKNOWN
    error: ErrorInfo | None = None
    started_at: datetime | None = None
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Nothing of (instance, epoch ≤ this) is left on the host: the answer to :class:`Leaving`."""

    instance_uuid: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the hypervisor shows of one of our guests; applied only if newer and from the placement's host and epoch."""

    instance_uuid: str
    epoch: int
    power_state: PowerState
    usage: InstanceUsage | None = None
    rescue: bool | None = None  # whether it boots from its rescue disk; None: an agent of before did not say
    saved: bool | None = None  # whether its memory is on the host's disk, while it is off; None: likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Files of (instance, epoch) that a host has without a domain, and without an order at work on them."""

    instance_uuid: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """``held`` lists every order in the agent's memory that is not yet in ``results``.

    ``want`` is the room per pool: orders beyond it are not handed out. ``foreign`` is the complete list of domain
    names when the agent took it this round, else None: unknown is not empty.
    """

    host: str
    session: int
    seq: int
    held: tuple[Held, ...] = ()
    begun: tuple[Begun, ...] = ()
    results: tuple[Result, ...] = ()
    gone: tuple[Gone, ...] = ()
    observations: tuple[Observation, ...] = ()
    usage: HostUsage | None = None
    inventory: Inventory | None = None  # when it changed
    foreign: tuple[str, ...] | None = None
    remains: tuple[Remains, ...] = ()  # with each look at everything
    want: dict[str, int] = field(default_factory=dict)
    seal: str = ""  # of the session


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """``granted`` true: the domain may start, now and after a restart of the agent, until the placement leaves."""

    operation_id: str
    attempt: int
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """This order is no longer yours: stop it, undo what it did on this host, forget it.

    A placement of it that must go is listed under ``leaving`` too and reported ``gone``.
    """

    operation_id: str
    attempt: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The conductor has the result for good: forget it."""

    operation_id: str
    attempt: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A record that entitles a destroy of everything of (instance, epoch ≤ this) on this host."""

    instance_uuid: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReply:
    orders: tuple[Order, ...] = ()
    permits: tuple[Permit, ...] = ()
    drops: tuple[Drop, ...] = ()
    acks: tuple[Ack, ...] = ()
    leaving: tuple[Leaving, ...] = ()
    lease_s: float = 15.0
    next_sync_s: float = 5.0

"""A step, and what steps get to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.claims import Claims
from agent.operations.token import Token
from agent.virt.driver import Backend, Driver
from drover import errors
from drover.objects.guest import GuestSpec, GuestState, ImageSource, UploadTarget
from drover.objects.sync import Order
from drover.states import PowerState

__all__ = ["ACTIVE_POWER", "Attempt", "Leave", "Step"]

#: a hypervisor process exists, or may exist
ACTIVE_POWER = frozenset({PowerState.RUNNING, PowerState.PAUSED, PowerState.UNKNOWN})


class Leave(Protocol):
    """What a step must have before it lets a domain run."""

    def permit(self) -> None:
        """Wait until the conductor permits this placement to start.

        :raises drover.errors.OperationCancelled: refused, or the order was cancelled meanwhile.
        """

    def lease(self) -> None:
        """Wait until the host is known to be alive. Call right before a domain may start.

        :raises drover.errors.OperationCancelled: the order was cancelled meanwhile.
        """

    def alive(self) -> bool:
        """Whether the host is known to be alive now. For an undo, which may come after a cancel and cannot wait."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One order on its way through its steps: what it needs, and what the steps found out."""

    order: Order
    token: Token
    leave: Leave
    backend: Backend
    claims: Claims
    stop_timeout_s: float
    resumed: bool  # an earlier incarnation began it
    #: something here was made or changed by this order, not found: without it nothing is undone
    made: bool = False
    #: what a later incarnation must know of the time before; kept in the journal before the next step begins
    facts: set[str] = field(default_factory=set)
    permitted: bool = False
    #: the world shows that the verb has happened: nothing is left to do
    settled: bool = False
    #: the world shows that everything before this step has happened; "": nothing is shown
    resume_at: str = ""
    #: nothing of (instance, epoch ≤ this) is left on the host
    removed: bool = False
    image_path: str = ""
    snapshot_path: str = ""
    power_state: PowerState = field(default=PowerState.UNKNOWN)

    @property
    def driver(self) -> Driver:
        return self.backend.driver

    @property
    def uuid(self) -> str:
        return self.order.instance_uuid

    @property
    def spec(self) -> GuestSpec:
        """:raises drover.errors.BadRequest: the order has none, or that of another guest."""
        spec = self.order.spec
        if spec is None:
            raise errors.BadRequest(method=self.order.action.value, reason="the order has no spec")
        if (spec.uuid, spec.epoch) != (self.uuid, self.order.epoch):
            raise errors.BadRequest(method=self.order.action.value, reason="its spec is another guest's")
        return spec

    @property
    def rescue_image(self) -> ImageSource:
        """:raises drover.errors.BadRequest: the order has none."""
        if self.order.rescue_image is None:
            raise errors.BadRequest(method=self.order.action.value, reason="the order has no rescue image")
        return self.order.rescue_image

    @property
    def upload(self) -> UploadTarget:
        """:raises drover.errors.BadRequest: the order has none."""
        if self.order.upload is None:
            raise errors.BadRequest(method=self.order.action.value, reason="the order has no upload target")
        return self.order.upload

    def guest(self) -> GuestState:
        """The guest of exactly this order's epoch.

        :raises drover.errors.GuestNotFound: there is none. GuestConflict: it is of another epoch.
        """
        guest = self.driver.get_guest(self.uuid)
        if guest is None:
            raise errors.GuestNotFound(instance=self.uuid)
        if guest.epoch != self.order.epoch:
            reason = f"its epoch is {guest.epoch}, the order's is {self.order.epoch}"
            raise errors.GuestConflict(instance=self.uuid, reason=reason)
        return guest


@dataclass(frozen=True, slots=True)
class Step:
    """One idempotent piece of a verb.

    ``undo`` takes back what the step may have done, also half, also nothing; it is registered before ``run``, and
    called with the order's token set when the order was cancelled.
    """

    name: str
    run: Callable[[Attempt], None]
    undo: Callable[[Attempt], None] | None = None

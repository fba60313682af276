"""The conductor's contracts: ``conductor`` for requests, ``conductor_wait`` for long polls.

Long polls have a topic and a server of their own, so that waiting clients never hold a worker that a sync or
a request needs.

History: 1.0 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drover.objects.catalog import Flavor, Image, Keypair, Network
from drover.objects.host import Host, RegisterReply, Registration
from drover.objects.instance import CreateReply, CreateRequest, Instance, InstanceFilter, InstancePage
from drover.objects.operation import Decision, Operation, OperationFilter, OperationPage, Trace
from drover.objects.sync import SyncReply, SyncRequest
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, call, cast_
from drover.states import Action

__all__ = ["CONTRACT", "WAIT_CONTRACT", "Alarm", "ConductorAPI", "DepotInfo", "Service", "WaitAPI", "WaitReply", "Why"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """An operation with its decisions, oldest first."""

    operation: Operation
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DepotInfo:
    """Where image bytes go: ``PUT {url}/v1/images/{id}?offset=N`` in chunks, with the bearer token."""

    url: str
    token: str
    chunk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A conductor or scheduler as its heartbeat row shows it."""

    kind: str
    name: str
    version: str
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    kind: str
    subject: str
    detail: str
    at: str


class ConductorAPI(Protocol):
    """Requests of users, agents and schedulers. References are names or ids."""

    # instances

    @call
    def instance_create(self, ctx: RequestContext, request: CreateRequest) -> CreateReply:
        """Write instances, operations and ports in one transaction, then nudge.

        :raises drover.errors.BadInput: and its kinds, drover.errors.NotFound kinds, NoAddresses,
            IdempotencyMismatch: nothing was written.
        """

    @call
    def instance_action(
        self, ctx: RequestContext, instance: str, action: Action, params: dict[str, str], idempotency_key: str = ""
    ) -> Operation:
        """Start a verb: delete, start, stop, reboot (``params["type"]`` is ``soft`` or ``hard``).

        :raises drover.errors.InstanceBusy: another verb is unfinished. InvalidState, InstanceLocked,
            InstanceNotFound, AmbiguousName, BadInput.
        """

    @call
    def instance_list(self, ctx: RequestContext, query: InstanceFilter) -> InstancePage: ...

    @call
    def instance_show(self, ctx: RequestContext, instance: str) -> Instance: ...

    # operations

    @call
    def operation_list(self, ctx: RequestContext, query: OperationFilter) -> OperationPage: ...

    @call
    def operation_show(self, ctx: RequestContext, operation: str) -> Operation: ...

    @call
    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        """Of an operation id, or of the newest operation of an instance."""

    @call
    def why(self, ctx: RequestContext, ref: str) -> Why:
        """Of an operation id, or of the newest build of an instance."""

    # hosts

    @call
    def host_list(self, ctx: RequestContext) -> tuple[Host, ...]: ...

    @call
    def host_show(self, ctx: RequestContext, host: str) -> Host: ...

    @call
    def host_set_enabled(self, ctx: RequestContext, host: str, enabled: bool, reason: str = "") -> Host: ...

    @call
    def host_adopt(self, ctx: RequestContext, host: str) -> Host:
        """Let another machine take over this host's name at its next registration."""

    @call
    def service_list(self, ctx: RequestContext) -> tuple[Service, ...]: ...

    @call
    def alarm_list(self, ctx: RequestContext) -> tuple[Alarm, ...]: ...

    # catalog

    @call
    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        """``flavor.id`` empty: one is made."""

    @call
    def flavor_list(self, ctx: RequestContext) -> tuple[Flavor, ...]: ...

    @call
    def flavor_delete(self, ctx: RequestContext, flavor: str) -> Flavor: ...

    @call
    def image_create(self, ctx: RequestContext, image: Image) -> Image:
        """Without ``url``: status ``queued`` until the bytes are in the depot and checked."""

    @call
    def image_upload(self, ctx: RequestContext, image: str) -> DepotInfo:
        """Where and with which token to send the bytes of a queued image."""

    @call
    def image_complete(self, ctx: RequestContext, image: str) -> Image:
        """All bytes were sent: check size, sha256 and format; then ``active``.

        :raises drover.errors.InvalidImage: and its kinds; the image goes to ``error`` and the bytes are removed.
        """

    @call
    def image_list(self, ctx: RequestContext) -> tuple[Image, ...]: ...

    @call
    def image_show(self, ctx: RequestContext, image: str) -> Image: ...

    @call
    def image_delete(self, ctx: RequestContext, image: str) -> Image: ...

    @call
    def network_create(self, ctx: RequestContext, network: Network) -> Network: ...

    @call
    def network_list(self, ctx: RequestContext) -> tuple[Network, ...]: ...

    @call
    def network_delete(self, ctx: RequestContext, network: str) -> Network: ...

    @call
    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair: ...

    @call
    def keypair_list(self, ctx: RequestContext) -> tuple[Keypair, ...]: ...

    @call
    def keypair_delete(self, ctx: RequestContext, name: str) -> Keypair: ...

    # agents and schedulers

    @call
    def register(self, ctx: RequestContext, registration: Registration) -> RegisterReply:
        """Open a session; older sessions of the host end with ``StaleSession``.

        :raises drover.errors.HostNameTaken: another machine has this name.
        """

    @call
    def sync(self, ctx: RequestContext, request: SyncRequest) -> SyncReply:
        """:raises drover.errors.StaleSession: a newer session exists; the agent must exit."""

    @cast_
    def dispatched(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        """From a scheduler: these were claimed; hand out their orders early."""

    @cast_
    def unplaceable(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        """From a scheduler: no host takes these, and the decision of their attempt says why.

        Those still in ``scheduling`` at the attempt of that decision fail with ``NoValidHost``.
        """

    @call
    def ping(self, ctx: RequestContext) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReply:
    """Operations as they are now; ``done`` when every one is final."""

    operations: tuple[Operation, ...]
    done: bool


class WaitAPI(Protocol):
    """Long polls."""

    @call
    def operation_wait(
        self, ctx: RequestContext, operation_ids: tuple[str, ...], timeout_s: float = 30.0, unfinished: int = -1
    ) -> WaitReply:
        """Answer when all are final, when fewer than *unfinished* are left (for progress), or after *timeout_s* (≤ 60)."""


CONTRACT = Contract("conductor", "1.0", ConductorAPI)
WAIT_CONTRACT = Contract("conductor_wait", "1.0", WaitAPI)

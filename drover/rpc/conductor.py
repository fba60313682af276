"""The conductor's contracts: ``conductor`` for requests, ``conductor_wait`` for long polls.

Long polls have a topic and a server of their own, so that waiting clients never hold a worker that a sync or
a request needs.

History: 1.0 first. 1.1 instance_update, instance_recover, host_fence, host_forget, audit, purge, quotas, alarm_clear,
event_wait. 1.2 aggregates, groups, host_set_draining, host_release; hints of a create, properties of an image.
1.3 filters and pages of hosts, flavors, images, networks and keypairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drover.objects.audit import AuditReport, PurgeReport
from drover.objects.catalog import Flavor, Image, Keypair, Network
from drover.objects.event import EventPage
from drover.objects.group import Aggregate, AggregateChange, ServerGroup
from drover.objects.host import Host, RegisterReply, Registration
from drover.objects.instance import CreateReply, CreateRequest, Instance, InstanceFilter, InstancePage
from drover.objects.operation import Decision, Operation, OperationFilter, OperationPage, Trace
from drover.objects.page import EVERY, EVERY_HOST, EVERY_IMAGE, HostFilter, ImageFilter, ListFilter
from drover.objects.preview import Cure, HostChange, Recovery
from drover.objects.quota import Quota, QuotaChange
from drover.objects.sync import SyncReply, SyncRequest
from drover.objects.update import InstanceUpdate
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

        :raises drover.errors.BadInput: and its kinds, drover.errors.NotFound kinds, AmbiguousName, NoAddresses,
            QuotaExceeded, IdempotencyMismatch: nothing was written.
        """

    @call
    def instance_action(
        self, ctx: RequestContext, instance: str, action: Action, params: dict[str, str], idempotency_key: str = ""
    ) -> Operation:
        """Start a verb of :data:`drover.states.VERBS`. Parameters, all of them words:

        ``reboot`` type (``soft``, or ``hard``), ``rebuild`` and ``rescue`` image (the instance's own), ``snapshot``
        name (of the image; needed), ``delete`` force (``true``: final, also where deleted instances can be restored).
        The operation of a snapshot or shelve names its image in ``params["image_id"]``.

        :raises drover.errors.InstanceBusy: another verb is unfinished. InvalidState, InstanceLocked,
            InstanceNotPlaced, InstanceNotFound, AmbiguousName, BadInput; ImageNotFound, ImageNotReady, InvalidImage,
            InvalidFlavor: the image cannot be used. Nothing was written.
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
    def operation_cancel(self, ctx: RequestContext, operation: str) -> Operation:
        """End an unfinished operation; its host stops and undoes it with its next sync. One that has ended stays so.

        The instance is left as the verb leaves it when it fails: a build in ``error``, an unshelve shelved.

        :raises drover.errors.OperationNotCancellable: a delete. OperationNotFound.
        """

    @call
    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        """Of an operation id, or of the newest operation of an instance."""

    @call
    def why(self, ctx: RequestContext, ref: str) -> Why:
        """Of an operation id, or of the newest build of an instance."""

    # hosts

    @call
    def host_list(self, ctx: RequestContext, query: HostFilter = EVERY_HOST) -> tuple[Host, ...]: ...

    @call
    def host_show(self, ctx: RequestContext, host: str) -> Host: ...

    @call
    def host_set_enabled(self, ctx: RequestContext, host: str, enabled: bool, reason: str = "") -> Host: ...

    @call
    def host_adopt(self, ctx: RequestContext, host: str) -> Host:
        """Let another machine take over this host's name at its next registration; lifts a fence."""

    @call
    def service_list(self, ctx: RequestContext) -> tuple[Service, ...]: ...

    @call
    def alarm_list(self, ctx: RequestContext) -> tuple[Alarm, ...]: ...

    # catalog

    @call
    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        """``flavor.id`` empty: one is made."""

    @call
    def flavor_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Flavor, ...]: ...

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
    def image_list(self, ctx: RequestContext, query: ImageFilter = EVERY_IMAGE) -> tuple[Image, ...]: ...

    @call
    def image_show(self, ctx: RequestContext, image: str) -> Image: ...

    @call
    def image_delete(self, ctx: RequestContext, image: str) -> Image: ...

    @call
    def network_create(self, ctx: RequestContext, network: Network) -> Network: ...

    @call
    def network_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Network, ...]: ...

    @call
    def network_delete(self, ctx: RequestContext, network: str) -> Network: ...

    @call
    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair: ...

    @call
    def keypair_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Keypair, ...]: ...

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

    # operators

    @call
    def instance_update(self, ctx: RequestContext, instance: str, update: InstanceUpdate) -> Instance:
        """Change what is only a record: name, metadata, tags, lock, restart policy. Done with the answer.

        :raises drover.errors.InstanceLocked: it is locked, and *update* does not unlock it. InvalidName, BadInput,
            InstanceNotFound, AmbiguousName.
        """

    @call
    def instance_recover(
        self, ctx: RequestContext, instance: str, cure: Cure | None = None, dry_run: bool = True
    ) -> Recovery:
        """What is wrong with an instance and what may be done; with *cure* and without *dry_run*, do it.

        :raises drover.errors.CureRefused: it could double a guest, or mend nothing; the reason says which.
        """

    @call
    def host_fence(self, ctx: RequestContext, host: str, reason: str, dry_run: bool = False) -> HostChange:
        """Take an operator's word that the host's machine is off, and stays off until ``host_adopt``.

        Builds go elsewhere, deletes are over, its instances are in error; its agent is refused with HostFenced.
        What is deleted or goes elsewhere leaves records that clean the machine up when it is adopted.

        :raises drover.errors.HostUp: it speaks. BadInput: no reason. HostNotFound.
        """

    @call
    def host_forget(self, ctx: RequestContext, host: str, dry_run: bool = False) -> HostChange:
        """Remove a host that is silent and empty, or fenced with whatever it has.

        :raises drover.errors.HostUp: it speaks. InUse: it is not fenced and has placements. HostNotFound.
        """

    @call
    def audit(self, ctx: RequestContext, heal: tuple[tuple[str, str], ...] = ()) -> AuditReport:
        """Compare the fleet's records with each other; mend the findings (code, subject) of *heal* that are healable."""

    @call
    def purge(self, ctx: RequestContext, before_days: float, dry_run: bool = False) -> PurgeReport:
        """Remove what ended more than *before_days* days ago, a bounded part of it with each call.

        :raises drover.errors.BadInput: less than a day.
        """

    @call
    def quota_set(self, ctx: RequestContext, project: str, change: QuotaChange) -> Quota:
        """Limit what *project* may have at once. A limit below its use takes nothing away and lets nothing come.

        Creates that begin after the answer obey it; one that is at it when a project's first limit is set may not.

        :raises drover.errors.BadInput: no limit, or one below -1 (none). InvalidName.
        """

    @call
    def quota_show(self, ctx: RequestContext, project: str) -> Quota: ...

    @call
    def alarm_clear(self, ctx: RequestContext, kind: str, subject: str) -> Alarm:
        """Acknowledge an alarm that stands until somebody does.

        :raises drover.errors.AlarmStands: it goes with its cause. AlarmNotFound.
        """

    @call
    def quota_list(self, ctx: RequestContext) -> tuple[Quota, ...]:
        """Projects whose limits somebody set."""

    @call
    def host_set_draining(self, ctx: RequestContext, host: str, draining: bool) -> Host:
        """Whether a host takes no new guests because its own are to move away."""

    @call
    def host_release(self, ctx: RequestContext, host: str) -> Host:
        """Take an operator's word that builds work on a host: it is no longer set aside, and what failed is forgotten."""

    # aggregates and groups

    @call
    def aggregate_create(self, ctx: RequestContext, aggregate: Aggregate) -> Aggregate:
        """``aggregate.id`` empty: one is made. Hosts are added afterwards.

        :raises drover.errors.InvalidAggregate: InvalidName, NameTaken.
        """

    @call
    def aggregate_list(self, ctx: RequestContext) -> tuple[Aggregate, ...]: ...

    @call
    def aggregate_show(self, ctx: RequestContext, aggregate: str) -> Aggregate: ...

    @call
    def aggregate_delete(self, ctx: RequestContext, aggregate: str) -> Aggregate:
        """:raises drover.errors.InUse: it has hosts."""

    @call
    def aggregate_add_host(self, ctx: RequestContext, aggregate: str, host: str) -> Aggregate:
        """A repeat changes nothing.

        :raises drover.errors.ZoneRefused: the host is in another availability zone by another aggregate, or it would
            change its zone and has guests. HostNotFound.
        """

    @call
    def aggregate_remove_host(self, ctx: RequestContext, aggregate: str, host: str) -> Aggregate:
        """:raises drover.errors.ZoneRefused: it would leave its zone and has guests. HostNotFound: it is not in it."""

    @call
    def aggregate_set(self, ctx: RequestContext, aggregate: str, change: AggregateChange) -> Aggregate:
        """:raises drover.errors.InvalidAggregate: ZoneRefused: one of its hosts may not change its zone."""

    @call
    def group_create(self, ctx: RequestContext, group: ServerGroup) -> ServerGroup:
        """In the context's project. ``group.id`` empty: one is made.

        :raises drover.errors.InvalidGroup: InvalidName, NameTaken.
        """

    @call
    def group_list(self, ctx: RequestContext) -> tuple[ServerGroup, ...]: ...

    @call
    def group_show(self, ctx: RequestContext, group: str) -> ServerGroup: ...

    @call
    def group_delete(self, ctx: RequestContext, group: str) -> ServerGroup:
        """Its members stay as they are and lose the rule."""


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

    @call
    def event_wait(self, ctx: RequestContext, cursor: int, timeout_s: float = 30.0) -> EventPage:
        """Events from *cursor* on (-1: from now on), as soon as there is one, or none after *timeout_s* (≤ 60).

        :raises drover.errors.EventsElsewhere: this conductor keeps none; they are on the broker.
        """


CONTRACT = Contract("conductor", "1.3", ConductorAPI)
WAIT_CONTRACT = Contract("conductor_wait", "1.1", WaitAPI)

"""The conductor's contracts, each method handed to the workflow it belongs to."""

from __future__ import annotations

from conductor.core import Core
from conductor.depot_store import DepotStore
from conductor.succession import Succession
from conductor.workflows.action import ActionWorkflow
from conductor.workflows.aggregate import AggregateWorkflow
from conductor.workflows.cancel import CancelWorkflow
from conductor.workflows.catalog import CatalogWorkflow
from conductor.workflows.create import CreateWorkflow
from conductor.workflows.dispatch import DispatchWorkflow
from conductor.workflows.doctor import DoctorWorkflow
from conductor.workflows.group import GroupWorkflow
from conductor.workflows.host import HostWorkflow
from conductor.workflows.image import ImageWorkflow
from conductor.workflows.purge import PurgeWorkflow
from conductor.workflows.query import QueryWorkflow
from conductor.workflows.quota import QuotaWorkflow
from conductor.workflows.recover import RecoverWorkflow
from conductor.workflows.sync import SyncWorkflow
from conductor.workflows.update import UpdateWorkflow
from drover import errors
from drover.objects.audit import AuditReport, PurgeReport
from drover.objects.catalog import Flavor, Image, Keypair, Network
from drover.objects.event import EventPage
from drover.objects.group import Aggregate, AggregateChange, ServerGroup
from drover.objects.host import Host, RegisterReply, Registration
from drover.objects.instance import CreateReply, CreateRequest, Instance, InstanceFilter, InstancePage
from drover.objects.operation import Operation, OperationFilter, OperationPage, Trace
from drover.objects.page import EVERY, EVERY_HOST, EVERY_IMAGE, HostFilter, ImageFilter, ListFilter
from drover.objects.preview import Cure, HostChange, Recovery
from drover.objects.quota import Quota, QuotaChange
from drover.objects.sync import SyncReply, SyncRequest
from drover.objects.update import InstanceUpdate
from drover.rpc.conductor import Alarm, DepotInfo, Service, WaitReply, Why
from drover.rpc.context import RequestContext
from drover.rpc.event import EVENTS, EventHub
from drover.states import Action

__all__ = ["ConductorEndpoint", "WaitEndpoint"]


class ConductorEndpoint:
    """Implements :class:`drover.rpc.conductor.ConductorAPI`."""

    def __init__(
        self,
        core: Core,
        sync: SyncWorkflow,
        catalog: CatalogWorkflow,
        images: ImageWorkflow,
        depot: DepotStore | None,
    ) -> None:
        self._core = core
        self._sync = sync
        self._succession = Succession(core)
        self._catalog = catalog
        self._images = images
        self._create = CreateWorkflow(core)
        self._action = ActionWorkflow(core)
        self._cancel = CancelWorkflow(core)
        self._dispatch = DispatchWorkflow(core)
        self._query = QueryWorkflow(core)
        self._update = UpdateWorkflow(core)
        self._recover = RecoverWorkflow(core)
        self._host = HostWorkflow(core)
        self._doctor = DoctorWorkflow(core, depot)
        self._purge = PurgeWorkflow(core)
        self._quota = QuotaWorkflow(core)
        self._aggregate = AggregateWorkflow(core)
        self._group = GroupWorkflow(core)

    # instances

    def instance_create(self, ctx: RequestContext, request: CreateRequest) -> CreateReply:
        return self._create.create(ctx, request)

    def instance_action(
        self, ctx: RequestContext, instance: str, action: Action, params: dict[str, str], idempotency_key: str = ""
    ) -> Operation:
        return self._action.run(ctx, instance, action, params, idempotency_key)

    def instance_list(self, ctx: RequestContext, query: InstanceFilter) -> InstancePage:
        return self._query.instance_list(ctx, query)

    def instance_show(self, ctx: RequestContext, instance: str) -> Instance:
        return self._query.instance_show(ctx, instance)

    # operations

    def operation_list(self, ctx: RequestContext, query: OperationFilter) -> OperationPage:
        return self._query.operation_list(ctx, query)

    def operation_show(self, ctx: RequestContext, operation: str) -> Operation:
        return self._query.operation_show(operation)

    def operation_cancel(self, ctx: RequestContext, operation: str) -> Operation:
        return self._cancel.cancel(ctx, operation)

    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        return self._query.trace(ctx, ref)

    def why(self, ctx: RequestContext, ref: str) -> Why:
        return self._query.why(ctx, ref)

    # the fleet

    def host_list(self, ctx: RequestContext, query: HostFilter = EVERY_HOST) -> tuple[Host, ...]:
        return self._host.list(query)

    def host_show(self, ctx: RequestContext, host: str) -> Host:
        return self._host.show(host)

    def host_set_enabled(self, ctx: RequestContext, host: str, enabled: bool, reason: str = "") -> Host:
        return self._host.set_enabled(host, enabled=enabled, reason=reason)

    def host_adopt(self, ctx: RequestContext, host: str) -> Host:
        return self._host.adopt(ctx, host)

    def service_list(self, ctx: RequestContext) -> tuple[Service, ...]:
        return self._host.services()

    def alarm_list(self, ctx: RequestContext) -> tuple[Alarm, ...]:
        return self._host.alarms()

    # catalog

    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        return self._catalog.flavor_create(ctx, flavor)

    def flavor_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Flavor, ...]:
        return self._catalog.flavor_list(ctx, query)

    def flavor_delete(self, ctx: RequestContext, flavor: str) -> Flavor:
        return self._catalog.flavor_delete(ctx, flavor)

    def image_create(self, ctx: RequestContext, image: Image) -> Image:
        return self._images.create(ctx, image)

    def image_upload(self, ctx: RequestContext, image: str) -> DepotInfo:
        return self._images.upload(ctx, image)

    def image_complete(self, ctx: RequestContext, image: str) -> Image:
        return self._images.complete(ctx, image)

    def image_list(self, ctx: RequestContext, query: ImageFilter = EVERY_IMAGE) -> tuple[Image, ...]:
        return self._images.list(ctx, query)

    def image_show(self, ctx: RequestContext, image: str) -> Image:
        return self._images.show(ctx, image)

    def image_delete(self, ctx: RequestContext, image: str) -> Image:
        return self._images.delete(ctx, image)

    def network_create(self, ctx: RequestContext, network: Network) -> Network:
        return self._catalog.network_create(ctx, network)

    def network_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Network, ...]:
        return self._catalog.network_list(ctx, query)

    def network_delete(self, ctx: RequestContext, network: str) -> Network:
        return self._catalog.network_delete(ctx, network)

    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair:
        return self._catalog.keypair_create(ctx, name, public_key)

    def keypair_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Keypair, ...]:
        return self._catalog.keypair_list(ctx, query)

    def keypair_delete(self, ctx: RequestContext, name: str) -> Keypair:
        return self._catalog.keypair_delete(ctx, name)

    # agents and schedulers

    def register(self, ctx: RequestContext, registration: Registration) -> RegisterReply:
        self._succession.check(registration.identity)
        return self._sync.register(ctx, registration)

    def sync(self, ctx: RequestContext, request: SyncRequest) -> SyncReply:
        return self._sync.sync(ctx, request)

    def dispatched(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._dispatch.dispatched(operation_ids)

    def unplaceable(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._dispatch.unplaceable(operation_ids)

    def ping(self, ctx: RequestContext) -> str:
        return self._core.name

    # operators

    def instance_update(self, ctx: RequestContext, instance: str, update: InstanceUpdate) -> Instance:
        return self._update.update(ctx, instance, update)

    def instance_recover(
        self, ctx: RequestContext, instance: str, cure: Cure | None = None, dry_run: bool = True
    ) -> Recovery:
        return self._recover.recover(ctx, instance, cure, dry_run=dry_run)

    def host_fence(self, ctx: RequestContext, host: str, reason: str, dry_run: bool = False) -> HostChange:
        return self._host.fence(ctx, host, reason, dry_run=dry_run)

    def host_forget(self, ctx: RequestContext, host: str, dry_run: bool = False) -> HostChange:
        return self._host.forget(ctx, host, dry_run=dry_run)

    def audit(self, ctx: RequestContext, heal: tuple[tuple[str, str], ...] = ()) -> AuditReport:
        return self._doctor.audit(ctx, heal)

    def purge(self, ctx: RequestContext, before_days: float, dry_run: bool = False) -> PurgeReport:
        return self._purge.purge(ctx, before_days, dry_run=dry_run)

    def quota_set(self, ctx: RequestContext, project: str, change: QuotaChange) -> Quota:
        return self._quota.set(ctx, project, change)

    def quota_show(self, ctx: RequestContext, project: str) -> Quota:
        return self._quota.show(project)

    def alarm_clear(self, ctx: RequestContext, kind: str, subject: str) -> Alarm:
        return self._host.alarm_clear(ctx, kind, subject)

    def quota_list(self, ctx: RequestContext) -> tuple[Quota, ...]:
        return self._quota.list()

    def host_set_draining(self, ctx: RequestContext, host: str, draining: bool) -> Host:
        return self._host.set_draining(ctx, host, draining=draining)

    def host_release(self, ctx: RequestContext, host: str) -> Host:
        return self._host.release(ctx, host)

    # aggregates and groups

    def aggregate_create(self, ctx: RequestContext, aggregate: Aggregate) -> Aggregate:
        return self._aggregate.create(ctx, aggregate)

    def aggregate_list(self, ctx: RequestContext) -> tuple[Aggregate, ...]:
        return self._aggregate.list()

    def aggregate_show(self, ctx: RequestContext, aggregate: str) -> Aggregate:
        return self._aggregate.show(aggregate)

    def aggregate_delete(self, ctx: RequestContext, aggregate: str) -> Aggregate:
        return self._aggregate.delete(ctx, aggregate)

    def aggregate_add_host(self, ctx: RequestContext, aggregate: str, host: str) -> Aggregate:
        return self._aggregate.add_host(ctx, aggregate, host)

    def aggregate_remove_host(self, ctx: RequestContext, aggregate: str, host: str) -> Aggregate:
        return self._aggregate.remove_host(ctx, aggregate, host)

    def aggregate_set(self, ctx: RequestContext, aggregate: str, change: AggregateChange) -> Aggregate:
        return self._aggregate.set(ctx, aggregate, change)

    def group_create(self, ctx: RequestContext, group: ServerGroup) -> ServerGroup:
        return self._group.create(ctx, group)

    def group_list(self, ctx: RequestContext) -> tuple[ServerGroup, ...]:
        return self._group.list(ctx)

    def group_show(self, ctx: RequestContext, group: str) -> ServerGroup:
        return self._group.show(ctx, group)

    def group_delete(self, ctx: RequestContext, group: str) -> ServerGroup:
        return self._group.delete(ctx, group)


class WaitEndpoint:
    """Implements :class:`drover.rpc.conductor.WaitAPI`."""

    def __init__(self, core: Core) -> None:
        self._waiter = core.waiter
        self._events = core.events

    def operation_wait(
        self, ctx: RequestContext, operation_ids: tuple[str, ...], timeout_s: float = 30.0, unfinished: int = -1
    ) -> WaitReply:
        return self._waiter.wait(operation_ids, timeout_s, unfinished)

    def event_wait(self, ctx: RequestContext, cursor: int, timeout_s: float = 30.0) -> EventPage:
        if not isinstance(self._events, EventHub):
            raise errors.EventsElsewhere(exchange=EVENTS)
        return self._events.wait(cursor, timeout_s)

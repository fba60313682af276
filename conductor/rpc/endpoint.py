"""The conductor's contracts, each method handed to the workflow it belongs to."""

from __future__ import annotations

from conductor.core import Core
from conductor.workflows.action import ActionWorkflow
from conductor.workflows.catalog import CatalogWorkflow
from conductor.workflows.create import CreateWorkflow
from conductor.workflows.dispatch import DispatchWorkflow
from conductor.workflows.image import ImageWorkflow
from conductor.workflows.query import QueryWorkflow
from conductor.workflows.sync import SyncWorkflow
from drover.objects.catalog import Flavor, Image, Keypair, Network
from drover.objects.host import Host, RegisterReply, Registration
from drover.objects.instance import CreateReply, CreateRequest, Instance, InstanceFilter, InstancePage
from drover.objects.operation import Operation, OperationFilter, OperationPage, Trace
from drover.objects.sync import SyncReply, SyncRequest
from drover.rpc.conductor import Alarm, DepotInfo, Service, WaitReply, Why
from drover.rpc.context import RequestContext
from drover.states import Action

__all__ = ["ConductorEndpoint", "WaitEndpoint"]


class ConductorEndpoint:
    """Implements :class:`drover.rpc.conductor.ConductorAPI`."""

    def __init__(self, core: Core, sync: SyncWorkflow, catalog: CatalogWorkflow, images: ImageWorkflow) -> None:
        self._core = core
        self._sync = sync
        self._catalog = catalog
        self._images = images
        self._create = CreateWorkflow(core)
        self._action = ActionWorkflow(core)
        self._dispatch = DispatchWorkflow(core)
        self._query = QueryWorkflow(core)

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

    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        return self._query.trace(ctx, ref)

    def why(self, ctx: RequestContext, ref: str) -> Why:
        return self._query.why(ctx, ref)

    # the fleet

    def host_list(self, ctx: RequestContext) -> tuple[Host, ...]:
        return self._query.host_list()

    def host_show(self, ctx: RequestContext, host: str) -> Host:
        return self._query.host_show(host)

    def host_set_enabled(self, ctx: RequestContext, host: str, enabled: bool, reason: str = "") -> Host:
        return self._query.host_set_enabled(host, enabled=enabled, reason=reason)

    def host_adopt(self, ctx: RequestContext, host: str) -> Host:
        return self._query.host_adopt(host)

    def service_list(self, ctx: RequestContext) -> tuple[Service, ...]:
        return self._query.service_list()

    def alarm_list(self, ctx: RequestContext) -> tuple[Alarm, ...]:
        return self._query.alarm_list()

    # catalog

    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        return self._catalog.flavor_create(ctx, flavor)

    def flavor_list(self, ctx: RequestContext) -> tuple[Flavor, ...]:
        return self._catalog.flavor_list(ctx)

    def flavor_delete(self, ctx: RequestContext, flavor: str) -> Flavor:
        return self._catalog.flavor_delete(ctx, flavor)

    def image_create(self, ctx: RequestContext, image: Image) -> Image:
        return self._images.create(ctx, image)

    def image_upload(self, ctx: RequestContext, image: str) -> DepotInfo:
        return self._images.upload(ctx, image)

    def image_complete(self, ctx: RequestContext, image: str) -> Image:
        return self._images.complete(ctx, image)

    def image_list(self, ctx: RequestContext) -> tuple[Image, ...]:
        return self._images.list(ctx)

    def image_show(self, ctx: RequestContext, image: str) -> Image:
        return self._images.show(ctx, image)

    def image_delete(self, ctx: RequestContext, image: str) -> Image:
        return self._images.delete(ctx, image)

    def network_create(self, ctx: RequestContext, network: Network) -> Network:
        return self._catalog.network_create(ctx, network)

    def network_list(self, ctx: RequestContext) -> tuple[Network, ...]:
        return self._catalog.network_list(ctx)

    def network_delete(self, ctx: RequestContext, network: str) -> Network:
        return self._catalog.network_delete(ctx, network)

    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair:
        return self._catalog.keypair_create(ctx, name, public_key)

    def keypair_list(self, ctx: RequestContext) -> tuple[Keypair, ...]:
        return self._catalog.keypair_list(ctx)

    def keypair_delete(self, ctx: RequestContext, name: str) -> Keypair:
        return self._catalog.keypair_delete(ctx, name)

    # agents and schedulers

    def register(self, ctx: RequestContext, registration: Registration) -> RegisterReply:
        return self._sync.register(ctx, registration)

    def sync(self, ctx: RequestContext, request: SyncRequest) -> SyncReply:
        return self._sync.sync(ctx, request)

    def dispatched(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._dispatch.dispatched(operation_ids)

    def unplaceable(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._dispatch.unplaceable(operation_ids)

    def ping(self, ctx: RequestContext) -> str:
        return self._core.name


class WaitEndpoint:
    """Implements :class:`drover.rpc.conductor.WaitAPI`."""

    def __init__(self, core: Core) -> None:
        self._waiter = core.waiter

    def operation_wait(
        self, ctx: RequestContext, operation_ids: tuple[str, ...], timeout_s: float = 30.0, unfinished: int = -1
    ) -> WaitReply:
        return self._waiter.wait(operation_ids, timeout_s, unfinished)

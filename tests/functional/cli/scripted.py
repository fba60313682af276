"""A conductor that answers from a script: real contracts over a real bus, no database behind them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from drover import errors
from drover.clock import to_iso
from drover.objects.audit import AuditReport, Finding, Healed, PurgeReport
from drover.objects.catalog import Flavor, Image, Keypair, Network
from drover.objects.guest import Diagnostics
from drover.objects.host import Fence, Host
from drover.objects.instance import CreateReply, CreateRequest, Instance, InstanceFilter, InstancePage
from drover.objects.operation import ErrorInfo, Operation, OperationFilter, OperationPage, Trace
from drover.objects.page import EVERY, EVERY_HOST, EVERY_IMAGE, HostFilter, ImageFilter, ListFilter
from drover.objects.preview import Cure, HostChange, Recovery
from drover.objects.update import InstanceUpdate
from drover.rpc.agent import ConsoleLog
from drover.rpc.conductor import Alarm, Service, WaitReply, Why
from drover.rpc.context import RequestContext
from drover.states import FINAL_STATES, Action, OperationState, PowerState, VmState
from tests.functional.cli.sample import (
    CONSEQUENCES,
    DEBIAN,
    DECISIONS,
    FINDINGS,
    LAN,
    LOGS,
    NOW,
    RECOVERY,
    SMALL,
    host,
    instance,
    operation,
    refused,
    succeeded,
)

T = TypeVar("T")


def of_page(values: list[T], query: ListFilter) -> tuple[T, ...]:
    """By name and marker; of the rest a script knows nothing."""
    marks = [str(getattr(it, "id" if isinstance(it, Image) else "name")) for it in values]
    begin = marks.index(query.marker) + 1 if query.marker else 0
    found = [it for it in values[begin:] if str(getattr(it, "name", "")).startswith(query.name)]
    return tuple(found[: query.limit or None])


class Scripted:
    """Keeps what it was asked in :attr:`asked`; tests set its lists beforehand."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.contexts: list[RequestContext] = []
        self.hosts = [host(1), host(2), host(3, up=False), host(4, enabled=False, disabled_reason="new disk")]
        self.instances = [instance(1), instance(2, vm_state=VmState.STOPPED, power_state=PowerState.SHUTDOWN)]
        self.operations: dict[str, Operation] = {}
        self.flavors = [SMALL]
        self.images = [DEBIAN]
        self.networks = [LAN]
        self.keypairs: list[Keypair] = []
        self.created: dict[str, CreateReply] = {}  # by idempotency key
        self.begun: dict[str, Operation] = {}  # likewise
        self.endings: dict[str, ErrorInfo] = {}  # by instance name: its operation fails so
        self.never_ends = False
        self.page_size = 100
        self.recovery = RECOVERY
        self.findings: tuple[Finding, ...] = FINDINGS
        self.purges = 1  # calls that a purge takes
        self.purged = {"operation": 500, "instance": 0}  # by each

    def asked_of(self, method: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.asked if name == method]

    def _note(self, method: str, ctx: RequestContext, **arguments: Any) -> None:
        self.asked.append((method, arguments))
        self.contexts.append(ctx)

    # instances

    def instance_create(self, ctx: RequestContext, request: CreateRequest) -> CreateReply:
        self._note("instance_create", ctx, request=request)
        if request.flavor not in {it.name for it in self.flavors}:
            raise errors.FlavorNotFound(ref=request.flavor)
        if request.count < 1:
            raise errors.InvalidCount(count=request.count, min_count=request.min_count, reason="at least 1")
        if request.idempotency_key in self.created:
            return self.created[request.idempotency_key]
        names = [request.name] if request.count == 1 else [f"{request.name}-{n + 1}" for n in range(request.count)]
        first = len(self.instances) + 1
        made = [instance(first + n, name=name) for n, name in enumerate(names)]
        operations = [operation(it) for it in made]
        self.instances += made
        self.operations.update({it.id: it for it in operations})
        reply = CreateReply(
            instance_uuids=tuple(it.uuid for it in made),
            operation_ids=tuple(it.id for it in operations),
            names=tuple(names),
        )
        self.created[request.idempotency_key] = reply
        return reply

    def instance_action(
        self, ctx: RequestContext, instance: str, action: Action, params: dict[str, str], idempotency_key: str = ""
    ) -> Operation:
        self._note("instance_action", ctx, instance=instance, action=action, params=params, key=idempotency_key)
        if idempotency_key in self.begun:
            return self.begun[idempotency_key]
        begun = operation(self.instance_show(ctx, instance), action)
        self.operations[begun.id] = self.begun[idempotency_key] = begun
        return begun

    def instance_list(self, ctx: RequestContext, query: InstanceFilter) -> InstancePage:
        self._note("instance_list", ctx, query=query)
        found = [it for it in self.instances if it.name.startswith(query.name) and query.host in ("", it.host)]
        uuids = [it.uuid for it in found]
        begin = uuids.index(query.marker) + 1 if query.marker else 0
        end = begin + min(query.limit, self.page_size)
        return InstancePage(instances=tuple(found[begin:end]), next_marker=uuids[end - 1] if end < len(found) else "")

    def instance_show(self, ctx: RequestContext, instance: str) -> Instance:
        self._note("instance_show", ctx, instance=instance)
        found = [it for it in self.instances if instance in (it.name, it.uuid)]
        if len(found) > 1:
            raise errors.AmbiguousName(what="instance", ref=instance, candidates=", ".join(it.uuid for it in found))
        if not found:
            raise errors.InstanceNotFound(ref=instance)
        return found[0]

    # operations

    def operation_list(self, ctx: RequestContext, query: OperationFilter) -> OperationPage:
        self._note("operation_list", ctx, query=query)
        return OperationPage(operations=tuple(self.operations.values()))

    def operation_show(self, ctx: RequestContext, operation: str) -> Operation:
        self._note("operation_show", ctx, operation=operation)
        if operation not in self.operations:
            raise errors.OperationNotFound(ref=operation)
        return self.operations[operation]

    def operation_wait(
        self, ctx: RequestContext, operation_ids: tuple[str, ...], timeout_s: float = 30.0, unfinished: int = -1
    ) -> WaitReply:
        self._note("operation_wait", ctx, ids=operation_ids, timeout_s=timeout_s, unfinished=unfinished)
        # One ends with each answer when somebody watches, all at once when nobody does.
        for each in () if self.never_ends else operation_ids if unfinished < 0 else operation_ids[:1]:
            self._end(self.operation_show(ctx, each))
        now = tuple(self.operation_show(ctx, each) for each in operation_ids)
        return WaitReply(operations=now, done=all(it.state in FINAL_STATES for it in now))

    def _end(self, it: Operation) -> None:
        error = self.endings.get(it.instance_name)
        state = OperationState.FAILED if error else OperationState.SUCCEEDED
        self.operations[it.id] = replace(
            it, state=state, error=error, host="" if error else "host-1", finished_at=NOW + timedelta(seconds=1.84)
        )

    def why(self, ctx: RequestContext, ref: str) -> Why:
        self._note("why", ctx, ref=ref)
        return Why(operation=refused(), decisions=DECISIONS)

    def trace(self, ctx: RequestContext, ref: str) -> Trace:
        self._note("trace", ctx, ref=ref)
        return Trace(operation=succeeded(), logs=LOGS)

    # the fleet

    def host_list(self, ctx: RequestContext, query: HostFilter = EVERY_HOST) -> tuple[Host, ...]:
        self._note("host_list", ctx, query=query)
        return of_page(self.hosts, query)

    def host_show(self, ctx: RequestContext, host: str) -> Host:
        self._note("host_show", ctx, host=host)
        for it in self.hosts:
            if it.name == host:
                return it
        raise errors.HostNotFound(ref=host)

    def host_set_enabled(self, ctx: RequestContext, host: str, enabled: bool, reason: str = "") -> Host:
        self._note("host_set_enabled", ctx, host=host, enabled=enabled, reason=reason)
        return replace(self.host_show(ctx, host), enabled=enabled, disabled_reason=reason)

    def host_adopt(self, ctx: RequestContext, host: str) -> Host:
        self._note("host_adopt", ctx, host=host)
        return self.host_show(ctx, host)

    def service_list(self, ctx: RequestContext) -> tuple[Service, ...]:
        return (Service(kind="conductor", name="c1", version="0.1.0", up=True),)

    def alarm_list(self, ctx: RequestContext) -> tuple[Alarm, ...]:
        return (Alarm(kind="orphan-domain", subject="host-2", detail="epoch above the record", at=to_iso(NOW)),)

    # operators

    def instance_update(self, ctx: RequestContext, instance: str, update: InstanceUpdate) -> Instance:
        self._note("instance_update", ctx, instance=instance, update=update)
        return self.instance_show(ctx, instance)

    def operation_cancel(self, ctx: RequestContext, operation: str) -> Operation:
        self._note("operation_cancel", ctx, operation=operation)
        found = self.operation_show(ctx, operation)
        if found.action is Action.DELETE:
            raise errors.OperationNotCancellable(action="delete", operation_id=found.id)
        return replace(found, state=OperationState.CANCELLED)

    def instance_recover(
        self, ctx: RequestContext, instance: str, cure: Cure | None = None, dry_run: bool = True
    ) -> Recovery:
        self._note("instance_recover", ctx, instance=instance, cure=cure, dry_run=dry_run)
        found = replace(self.recovery, instance=self.instance_show(ctx, instance))
        if any(option.cure is cure and option.refused for option in found.options):
            raise errors.CureRefused(instance=instance, cure=str(cure), reason="it may still run on host-2")
        return found if dry_run else replace(found, done=cure, operation_id="0b5e55ed")

    def host_fence(self, ctx: RequestContext, host: str, reason: str, dry_run: bool = False) -> HostChange:
        self._note("host_fence", ctx, host=host, reason=reason, dry_run=dry_run)
        it = self.host_show(ctx, host)
        if it.up:
            raise errors.HostUp(host=host, age_s=1.0, silent_after_s=20.0)
        fenced = replace(it, fence=Fence(reason=reason, by="admin", at=NOW))
        return HostChange(host=it if dry_run else fenced, done=not dry_run, consequences=CONSEQUENCES)

    def host_forget(self, ctx: RequestContext, host: str, dry_run: bool = False) -> HostChange:
        self._note("host_forget", ctx, host=host, dry_run=dry_run)
        it = self.host_show(ctx, host)
        if not dry_run:
            self.hosts.remove(it)
        return HostChange(host=it, done=not dry_run)

    def audit(self, ctx: RequestContext, heal: tuple[tuple[str, str], ...] = ()) -> AuditReport:
        self._note("audit", ctx, heal=heal)
        if not heal:
            return AuditReport(findings=self.findings)
        healed = tuple(Healed(code=code, subject=subject, done=True) for code, subject in heal)
        return AuditReport(findings=tuple(it for it in self.findings if not it.healable), healed=healed)

    def purge(self, ctx: RequestContext, before_days: float, dry_run: bool = False) -> PurgeReport:
        self._note("purge", ctx, before_days=before_days, dry_run=dry_run)
        if not dry_run:
            self.purges -= 1
        return PurgeReport(rows=dict(self.purged), more=not dry_run and self.purges > 0)

    # catalog

    def flavor_create(self, ctx: RequestContext, flavor: Flavor) -> Flavor:
        self._note("flavor_create", ctx, flavor=flavor)
        if flavor.name in {it.name for it in self.flavors}:
            raise errors.NameTaken(what="flavor", name=flavor.name)
        self.flavors.append(flavor)
        return flavor

    def flavor_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Flavor, ...]:
        self._note("flavor_list", ctx, query=query)
        return of_page(self.flavors, query)

    def flavor_delete(self, ctx: RequestContext, flavor: str) -> Flavor:
        self._note("flavor_delete", ctx, flavor=flavor)
        for it in self.flavors:
            if it.name == flavor:
                self.flavors.remove(it)
                return it
        raise errors.FlavorNotFound(ref=flavor)

    def image_create(self, ctx: RequestContext, image: Image) -> Image:
        self._note("image_create", ctx, image=image)
        self.images.append(image)
        return image

    def image_list(self, ctx: RequestContext, query: ImageFilter = EVERY_IMAGE) -> tuple[Image, ...]:
        self._note("image_list", ctx, query=query)
        return of_page(self.images, query)

    def image_show(self, ctx: RequestContext, image: str) -> Image:
        for it in self.images:
            if image in (it.name, it.id):
                return it
        raise errors.ImageNotFound(ref=image)

    def image_delete(self, ctx: RequestContext, image: str) -> Image:
        return self.image_show(ctx, image)

    def network_create(self, ctx: RequestContext, network: Network) -> Network:
        self._note("network_create", ctx, network=network)
        self.networks.append(network)
        return network

    def network_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Network, ...]:
        self._note("network_list", ctx, query=query)
        return of_page(self.networks, query)

    def network_delete(self, ctx: RequestContext, network: str) -> Network:
        raise errors.InUse(what="network", ref=network, users="web-1")

    def keypair_create(self, ctx: RequestContext, name: str, public_key: str) -> Keypair:
        self._note("keypair_create", ctx, name=name, public_key=public_key)
        self.keypairs.append(Keypair(name=name, public_key=public_key, fingerprint="SHA256:abc"))
        return self.keypairs[-1]

    def keypair_list(self, ctx: RequestContext, query: ListFilter = EVERY) -> tuple[Keypair, ...]:
        self._note("keypair_list", ctx, query=query)
        return of_page(self.keypairs, query)

    def keypair_delete(self, ctx: RequestContext, name: str) -> Keypair:
        raise errors.KeypairNotFound(ref=name)


class ScriptedAgent:
    """The agent of host-1."""

    def __init__(self) -> None:
        self.text = "Booting …\nGUEST-READY host=web-1 ip=10.20.0.10\n"

    def console_log(self, ctx: RequestContext, instance_uuid: str, max_bytes: int = 65536) -> ConsoleLog:
        return ConsoleLog(text=self.text[-max_bytes:])

    def diagnostics(self, ctx: RequestContext, instance_uuid: str) -> Diagnostics:
        return Diagnostics(
            instance_uuid=instance_uuid,
            hypervisor="kvm",
            power_state=PowerState.RUNNING,
            uptime_s=81.5,
            cpu_time_s=(4.2, 0.1),
            memory_mib=512,
            memory_rss_mib=230,
            disks=({"device": "vda", "read_bytes": 1048576, "read_requests": 40, "errors": 0},),
            nics=({"mac": "52:54:00:00:00:01", "rx_octets": 9000, "tx_octets": 700},),
        )

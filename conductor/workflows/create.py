"""``instance create``: everything checked, then instances, operations and ports in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection

from conductor.core import Core
from conductor.effect import Applied
from conductor.idempotency import digest_of, recalled
from conductor.points import Commit
from conductor.rule.hint import check_hints, check_together
from conductor.rule.instance import check_metadata, check_tags
from conductor.rule.quota import amounts_of, fitting
from conductor.rule.verb import check_fit, check_wishes
from drover import errors, log, retry
from drover.db import address, aggregate, catalog, host, instance, notice, operation, server_group
from drover.db import image as images
from drover.db import quota as quotas
from drover.objects import codec
from drover.objects.catalog import Flavor, Image, ImageStatus, Keypair, Network
from drover.objects.event import instance_event, operation_event
from drover.objects.group import DEFAULT_ZONE, Hints
from drover.objects.instance import CreateReply, CreateRequest, Instance
from drover.objects.name import check_hostname, numbered
from drover.objects.operation import Operation
from drover.objects.quota import Amounts
from drover.rpc.context import RequestContext
from drover.runtime.joiner import Joiner
from drover.states import Action, OperationState, VmState

__all__ = ["CreateWorkflow"]

LOG = log.get(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    ctx: RequestContext
    request: CreateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A request with its names resolved."""

    flavor: Flavor
    limited: bool  # the project has a quota
    image: Image
    networks: tuple[Network, ...]
    key: Keypair | None
    hints: Hints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What one request writes."""

    instances: list[Instance]
    networks: tuple[Network, ...]
    secret: instance.Secret
    operations: list[Operation]
    reply: CreateReply


class _Books:
    """What the requests of one transaction read, each thing once, and what they are promised."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._known: dict[tuple[object, ...], Any] = {}
        self._free: dict[str, int] = {}  # addresses, by network
        self._promised: dict[str, Amounts] = {}  # by project

    def get(self, read: Callable[..., T], *ref: str) -> T:
        """``read(conn, *ref)``; what it raises, too."""
        key = (read, *ref)
        if key not in self._known:
            self._known[key] = read(self._conn, *ref)
        found: T = self._known[key]
        return found

    def promise(self, project_id: str, parts: _Parts, *, least: int, most: int) -> int:
        """How many instances there are quota and addresses for, at most *most*.

        :raises errors.QuotaExceeded: errors.NoAddresses: fewer than *least*; nothing was promised.
        """
        each = amounts_of(parts.flavor, len(parts.networks))
        promised = self._promised.get(project_id, Amounts())
        count = most
        if parts.limited:
            quota = self.get(quotas.hold, project_id)
            count = fitting(replace(quota, used=quota.used.plus(promised)), each, least=least, most=most)
        for network in parts.networks:
            free = self._free.setdefault(network.id, self.get(address.free_count, network.id))
            if free < least:
                raise errors.NoAddresses(network=network.name, free=free, wanted=least)
            count = min(count, free)
        for network in parts.networks:
            self._free[network.id] -= count
        self._promised[project_id] = promised.plus(each, count)
        return count


class CreateWorkflow:
    """Requests that arrive together share a transaction; each succeeds or fails alone."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._joiner: Joiner[_Job, CreateReply] = Joiner(core.runtime, self._batch, window_s=core.times.join_window_s)

    def create(self, ctx: RequestContext, request: CreateRequest) -> CreateReply:
        """See the contract."""
        self._check(request)
        return self._joiner.submit(_Job(ctx, request))

    def _check(self, request: CreateRequest) -> None:
        settings = self._core.settings
        if not 1 <= request.count <= settings.max_count:
            raise errors.InvalidCount(
                count=request.count, min_count=request.min_count, reason=f"a call makes 1 to {settings.max_count}"
            )
        if not 0 <= request.min_count <= request.count:
            raise errors.InvalidCount(
                count=request.count, min_count=request.min_count, reason="the minimum is over the count or negative"
            )
        for name in numbered(request.name, request.count):
            check_hostname(name)
        check_metadata(request.metadata)
        check_tags(request.tags)
        check_hints(request.hints)
        size = len(request.user_data.encode())
        if size > settings.user_data_max_bytes:
            raise errors.InvalidUserData(reason=f"{size} bytes, at most {settings.user_data_max_bytes}")
        if "\0" in request.user_data:  # PostgreSQL refuses it, and would write the text to its log
            raise errors.InvalidUserData(reason="it holds a NUL character")
        if len(request.idempotency_key) > 255:
            raise errors.BadInput(reason="an idempotency key has at most 255 characters")

    # --- a batch ---------------------------------------------------------------------------------------------

    def _batch(self, jobs: Sequence[_Job]) -> list[CreateReply | Exception]:
        try:
            answers, applied = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        except errors.StoreConflict:
            if len(jobs) > 1:
                raise  # the joiner tries each alone
            # Another conductor used the key just now. The second try sees what it wrote.
            answers, applied = retry.while_busy(self._core.runtime, lambda: self._write(jobs))
        self._core.after(applied)
        return answers

    def _write(self, jobs: Sequence[_Job]) -> tuple[list[CreateReply | Exception], Applied]:
        core = self._core
        answers: dict[int, CreateReply | Exception] = {}
        written: list[_Rows] = []
        remember: dict[tuple[str, str], notice.Remembered] = {}
        with core.transaction(Commit.CREATE) as conn:
            known = notice.recall(
                conn, [(j.ctx.project_id, j.request.idempotency_key) for j in jobs if j.request.idempotency_key]
            )
            books = _Books(conn)
            # By project, since quotas are held in that order.
            for place, job in sorted(enumerate(jobs), key=lambda it: it[1].ctx.project_id):
                key = (job.ctx.project_id, job.request.idempotency_key)
                digest = digest_of(replace(job.request, idempotency_key=""))
                try:
                    before = recalled({**known, **remember}, key, digest)
                    if before is not None:
                        answers[place] = codec.from_json(before, CreateReply)
                        continue
                    rows = self._one(books, job)
                except errors.DroverError as exc:
                    if isinstance(exc, errors.Unavailable):
                        raise
                    answers[place] = exc
                    continue
                written.append(rows)
                answers[place] = rows.reply
                if key[1]:
                    remember[key] = notice.Remembered(digest, codec.to_json(rows.reply))
            self._insert(conn, written, remember)
        operations = [op for rows in written for op in rows.operations]
        events = [instance_event(i) for rows in written for i in rows.instances]
        applied = Applied(requeued=[op.id for op in operations], events=[*events, *map(operation_event, operations)])
        return [answers[place] for place in range(len(jobs))], applied

    def _insert(
        self, conn: Connection, written: Sequence[_Rows], remember: dict[tuple[str, str], notice.Remembered]
    ) -> None:
        owner = self._core.owner()
        notice.remember(conn, remember, owner.now)
        self._reserve(conn, written)
        secrets = {i.uuid: rows.secret for rows in written for i in rows.instances}
        instance.add(conn, [i for rows in written for i in rows.instances], secrets)
        grouped = [i for rows in written for i in rows.instances if i.hints.group]
        for group_id in sorted({i.hints.group for i in grouped}):
            server_group.add_members(conn, group_id, (i.uuid for i in grouped if i.hints.group == group_id))
        operation.add(conn, [op for rows in written for op in rows.operations], owner_until=owner.until, keys={})

    def _reserve(self, conn: Connection, written: Sequence[_Rows]) -> None:
        """An address of each network for each instance. Networks are locked in order of id, so that two never deadlock.

        :raises errors.NoAddresses: others took them meanwhile. NetworkNotFound: somebody deleted it meanwhile.
        """
        wanted: dict[str, list[tuple[str, int]]] = {}
        for rows in written:
            for position, network in enumerate(rows.networks):
                wanted.setdefault(network.id, []).extend((i.uuid, position) for i in rows.instances)
        for network_id, places in sorted(wanted.items()):
            address.reserve(conn, network_id, places, self._core.runtime.uuid)

    def _one(self, books: _Books, job: _Job) -> _Rows:
        """Resolve one request and lay out its rows; nothing is written."""
        request = job.request
        parts = self._resolve(books, job)
        # All or nothing without a minimum.
        least = request.min_count or request.count
        count = books.promise(job.ctx.project_id, parts, least=least, most=request.count)
        return self._rows(job, parts, numbered(request.name, request.count)[:count])

    def _resolve(self, books: _Books, job: _Job) -> _Parts:
        request = job.request
        flavor, limited = books.get(quotas.flavor_for, job.ctx.project_id, request.flavor)
        image = books.get(images.resolve, request.image)
        if image.status is not ImageStatus.ACTIVE:
            raise errors.ImageNotReady(ref=request.image, status=image.status.value)
        check_fit(flavor, image)
        check_wishes(flavor, image)
        networks = tuple(books.get(catalog.get_network, ref) for ref in request.networks)
        if len({n.id for n in networks}) < len(networks):
            raise errors.InvalidNetwork(name=request.networks[0], reason="named twice")
        key = books.get(catalog.get_keypair, job.ctx.project_id, request.key_name) if request.key_name else None
        hints = _hints(books, job) if request.hints != Hints() else request.hints
        return _Parts(flavor=flavor, limited=limited, image=image, networks=networks, key=key, hints=hints)

    def _rows(self, job: _Job, parts: _Parts, names: Sequence[str]) -> _Rows:
        core, ctx, request = self._core, job.ctx, job.request
        now = core.runtime.clock.now()
        instances = [
            Instance(
                uuid=core.runtime.uuid(),
                name=name,
                project_id=ctx.project_id,
                user_id=ctx.user_id,
                flavor=parts.flavor,
                image_id=parts.image.id,
                image_name=parts.image.name,
                key_name=request.key_name,
                vm_state=VmState.BUILDING,
                metadata=request.metadata,
                tags=tuple(sorted(set(request.tags))),
                restart=request.restart,
                hints=parts.hints,
                created_at=now,
            )
            for name in names
        ]
        params = _together(request, len(instances))
        operations = [
            replace(
                core.new_operation(ctx, i, Action.BUILD, params), state=OperationState.SCHEDULING, dispatched_at=None
            )
            for i in instances
        ]
        keys = (parts.key.public_key,) if parts.key else ()
        return _Rows(
            instances=instances,
            networks=parts.networks,
            secret=instance.Secret(user_data=request.user_data, ssh_keys=keys),
            operations=operations,
            reply=CreateReply(
                instance_uuids=tuple(i.uuid for i in instances),
                operation_ids=tuple(op.id for op in operations),
                names=tuple(names),
            ),
        )


def _together(request: CreateRequest, count: int) -> dict[str, str]:
    """What a scheduler must know to decide *count* builds as one. Those that may wait for room need not find it together."""
    if count == 1:
        return {}
    least = 1 if request.hints.wait else request.min_count or request.count
    return {"count": str(count), "min_count": str(least)}


def _hints(books: _Books, job: _Job) -> Hints:
    """Those of a request with their names resolved.

    :raises errors.ServerGroupNotFound: AvailabilityZoneNotFound, HostNotFound, InstanceNotFound, AmbiguousName.
        InvalidHints: they contradict one another.
    """
    hints, project_id = job.request.hints, job.ctx.project_id

    def uuid_of(ref: str) -> str:
        return books.get(_instance_of, project_id, ref)

    if hints.availability_zone not in ("", DEFAULT_ZONE) and not books.get(aggregate.has_zone, hints.availability_zone):
        raise errors.AvailabilityZoneNotFound(ref=hints.availability_zone)
    found = replace(
        hints,
        group=books.get(server_group.get, project_id, hints.group).id if hints.group else "",
        same_host=tuple(sorted({uuid_of(ref) for ref in hints.same_host})),
        different_host=tuple(sorted({uuid_of(ref) for ref in hints.different_host})),
    )
    check_together(found, books.get(host.get, hints.host).availability_zone if hints.host else "")
    return found


def _instance_of(conn: Connection, project_id: str, ref: str) -> str:
    return instance.resolve(conn, ref, project_id=project_id).uuid

"""Claims: a request gets its place on a host, in one transaction, or changes nothing.

A claim does three things together: the operation goes ``scheduling → dispatched``, the allocation is inserted,
and what the host has used is raised if it still fits.  A repeat finds the operation dispatched and does
nothing.  Summing allocations instead of keeping ``used_*`` over-commits under every isolation level.

Locks are taken in one order, which every writer should keep: operations by id, their instances, host rows by
name, allocations.  A request that lost the last room of its host may take another candidate in the same
transaction: those rows come out of order, so they are taken only if nobody holds them, and nothing deadlocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from drover.clock import to_iso
from drover.db.bulk import among, listed
from drover.db.claim_write import Won, lower, write
from drover.db.schema import allocation, host_capacity, image, instance, operation
from drover.objects import codec
from drover.objects.catalog import Flavor
from drover.objects.host import Resources
from drover.states import OperationState

__all__ = [
    "Claim",
    "ClaimState",
    "Key",
    "Outcome",
    "Waiting",
    "claim",
    "release",
    "release_many",
    "scheduling",
    "waiting",
]

#: (instance uuid, host, epoch): the key of an allocation
Key = tuple[str, str, int]

_SCHEDULING = OperationState.SCHEDULING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An operation in ``scheduling`` with what decides where its instance may go."""

    operation_id: str
    attempt: int
    instance_uuid: str
    instance_name: str
    request_id: str
    flavor: Flavor
    excluded_hosts: tuple[str, ...] = ()
    architecture: str = ""
    virt_type: str = ""  # the image's
    min_disk_gib: int = 0
    virtual_size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One request for a place: *candidates* are hosts, best first."""

    operation_id: str
    attempt: int
    instance_uuid: str
    candidates: tuple[str, ...]
    ask: Resources


class ClaimState(StrEnum):
    CLAIMED = "claimed"
    STALE = "stale"  # the operation is no longer in ``scheduling`` at this attempt: nothing to do
    LOST = "lost"  # no candidate had room left; the operation still waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """*lost* are candidates that were better than *host* and had no room, or were held by another claim."""

    operation_id: str
    state: ClaimState
    host: str = ""
    lost: tuple[str, ...] = ()


def scheduling(conn: Connection, limit: int) -> list[str]:
    """Ids of operations that wait for a host, oldest first."""
    query = (
        select(operation.c.id)
        .where(operation.c.unfinished == 1, operation.c.state == _SCHEDULING)
        .order_by(operation.c.created_at, operation.c.id)
    )
    return list(conn.execute(query.limit(limit)).scalars())


_WAITING = (
    select(
        operation.c.id,
        operation.c.attempt,
        operation.c.instance_uuid,
        operation.c.instance_name,
        operation.c.request_id,
        operation.c.excluded_hosts,
        instance.c.flavor,
        image.c.architecture,
        image.c.virt_type,
        image.c.min_disk_gib,
        image.c.virtual_size_bytes,
    )
    .join(instance, instance.c.uuid == operation.c.instance_uuid)
    .outerjoin(image, image.c.id == instance.c.image_id)
    .where(among(operation.c.id, bindparam("ids")), operation.c.state == _SCHEDULING)
    .order_by(operation.c.created_at, operation.c.id)
)


def waiting(conn: Connection, operation_ids: Iterable[str]) -> list[Waiting]:
    """Those of *operation_ids* that wait for a host, oldest first."""
    rows = conn.execute(_WAITING, {"ids": listed(operation_ids)}).all()
    return [
        Waiting(
            operation_id=row.id,
            attempt=row.attempt,
            instance_uuid=row.instance_uuid,
            instance_name=row.instance_name,
            request_id=row.request_id,
            flavor=codec.from_json(row.flavor, Flavor),
            excluded_hosts=codec.from_json(row.excluded_hosts, tuple[str, ...]),
            architecture=row.architecture or "",
            virt_type=row.virt_type or "",
            min_disk_gib=row.min_disk_gib or 0,
            virtual_size_bytes=row.virtual_size_bytes or 0,
        )
        for row in rows
    ]


def claim(conn: Connection, claims: Sequence[Claim], now: datetime) -> list[Outcome]:
    """Claim a batch; answers one outcome a claim, in their order.

    :raises drover.errors.StoreBusy: it lost against others; the transaction must be rolled back.
    """
    epochs = _lock_operations(conn, claims)
    outcomes: dict[str, Outcome] = {}
    live: list[Claim] = []
    for request in claims:
        if (request.operation_id, request.attempt) in epochs:
            live.append(request)
        else:
            outcomes[request.operation_id] = Outcome(operation_id=request.operation_id, state=ClaimState.STALE)
    outcomes |= _choose(_Rooms(conn), live)
    won = [
        Won(
            operation_id=request.operation_id,
            attempt=request.attempt,
            instance_uuid=request.instance_uuid,
            host=outcomes[request.operation_id].host,
            epoch=epochs[request.operation_id, request.attempt],
            vcpus=request.ask.vcpus,
            memory_mib=request.ask.memory_mib,
            disk_gib=request.ask.disk_gib,
        )
        for request in live
        if outcomes[request.operation_id].state is ClaimState.CLAIMED
    ]
    if won:
        write(conn, won, to_iso(now))
    return [outcomes[request.operation_id] for request in claims]


def release(conn: Connection, *, instance_uuid: str, host: str, epoch: int) -> bool:
    """Delete one allocation and lower what its host has used; ``False`` when it was gone already."""
    return bool(release_many(conn, [(instance_uuid, host, epoch)]))


def release_many(conn: Connection, keys: Iterable[Key]) -> set[Key]:
    """:func:`release` for many; answers the keys this call deleted."""
    a = allocation.c
    wanted = sorted(set(keys))
    if not wanted:
        return set()
    rows = conn.execute(
        delete(allocation)
        .where(tuple_(a.instance_uuid, a.host, a.epoch).in_(wanted))
        .returning(a.instance_uuid, a.host, a.epoch, a.vcpus, a.memory_mib, a.disk_gib)
    ).all()
    lower(conn, ((r.host, Resources(vcpus=r.vcpus, memory_mib=r.memory_mib, disk_gib=r.disk_gib)) for r in rows))
    return {(row.instance_uuid, row.host, row.epoch) for row in rows}


_STILL_WAITING = (
    select(operation.c.id, operation.c.attempt, instance.c.epoch)
    .join(instance, instance.c.uuid == operation.c.instance_uuid)
    .where(among(operation.c.id, bindparam("ids")), operation.c.state == _SCHEDULING)
    .order_by(operation.c.id)
    .with_for_update()
)


def _lock_operations(conn: Connection, claims: Sequence[Claim]) -> dict[tuple[str, int], int]:
    """Hold what still waits: epoch by (operation id, attempt). A row that another claim just took is not among them."""
    ids = listed(request.operation_id for request in claims)
    return {(row.id, row.attempt): row.epoch for row in conn.execute(_STILL_WAITING, {"ids": ids})}


_FREE = (
    select(
        host_capacity.c.host,
        host_capacity.c.total_vcpus - host_capacity.c.used_vcpus,
        host_capacity.c.total_memory_mib - host_capacity.c.used_memory_mib,
        host_capacity.c.total_disk_gib - host_capacity.c.used_disk_gib,
    )
    .where(among(host_capacity.c.host, bindparam("hosts")), host_capacity.c.enabled == 1, host_capacity.c.up == 1)
    .order_by(host_capacity.c.host)
)
_FREE_ONCE_LOCKED = _FREE.with_for_update()
_FREE_IF_NOT_LOCKED = _FREE.with_for_update(skip_locked=True)


class _Rooms:
    """Free room of the host rows this transaction holds."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._free: dict[str, list[int]] = {}

    def lock(self, hosts: Iterable[str], *, skip_locked: bool) -> None:
        """Hold the rows of *hosts* that may take guests; those that another transaction holds are waited for or skipped."""
        query = _FREE_IF_NOT_LOCKED if skip_locked else _FREE_ONCE_LOCKED
        for host, *free in self._conn.execute(query, {"hosts": listed(set(hosts) - self._free.keys())}):
            self._free[host] = free

    def take(self, host: str, ask: Resources) -> bool:
        """Take *ask* from *host* if it has that; what is not asked for may be overdrawn."""
        free = self._free.get(host)
        wanted = (ask.vcpus, ask.memory_mib, ask.disk_gib)
        if free is None or any(amount and amount > left for amount, left in zip(wanted, free, strict=True)):
            return False
        self._free[host] = [left - amount for amount, left in zip(wanted, free, strict=True)]
        return True


def _choose(rooms: _Rooms, claims: Sequence[Claim]) -> dict[str, Outcome]:
    """The first candidate with room for each, in order of the claims: first choices first, then the others."""
    rooms.lock((host for request in claims for host in request.candidates[:1]), skip_locked=False)
    outcomes: dict[str, Outcome] = {}
    losers: list[Claim] = []
    for request in claims:
        if any(rooms.take(host, request.ask) for host in request.candidates[:1]):
            outcomes[request.operation_id] = _claimed(request, 0)
        else:
            losers.append(request)
    if losers:
        rooms.lock((host for request in losers for host in request.candidates[1:]), skip_locked=True)
    for request in losers:
        outcomes[request.operation_id] = Outcome(
            operation_id=request.operation_id, state=ClaimState.LOST, lost=request.candidates
        )
        for position, host in enumerate(request.candidates[1:], start=1):
            if rooms.take(host, request.ask):
                outcomes[request.operation_id] = _claimed(request, position)
                break
    return outcomes


def _claimed(request: Claim, position: int) -> Outcome:
    return Outcome(
        operation_id=request.operation_id,
        state=ClaimState.CLAIMED,
        host=request.candidates[position],
        lost=request.candidates[:position],
    )

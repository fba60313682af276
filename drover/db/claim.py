"""Claims: a request gets its place on a host, in one transaction, or changes nothing.

A claim does three things together: the operation goes ``scheduling → dispatched``, the allocation is inserted,
and what the host has used is raised if it still fits.  A repeat finds the operation dispatched and does
nothing.  Summing allocations instead of keeping ``used_*`` over-commits under every isolation level.

Pieces of hardware and seats in a server group are not counted but chosen, by the allocations that are there once
the host's or the group's row is held; an ordinary request asks for neither and pays for neither.

Locks are taken in one order, which every writer should keep: operations by id, their instances, server groups by
id, host rows by name, allocations.  A request that lost the last room of its host may take another candidate in
the same transaction: those rows come out of order, so they are taken only if nobody holds them, and nothing
deadlocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, select, tuple_

from drover.clock import to_iso
from drover.db.bulk import among, listed
from drover.db.claim_group import FREE, Groups
from drover.db.claim_hardware import HardwareLeft
from drover.db.claim_write import OPEN, Won, lower, write
from drover.db.schema import allocation, host_capacity, instance, operation
from drover.objects import codec
from drover.objects.group import ServerGroup
from drover.objects.hardware import HardwareAsk
from drover.objects.host import Resources
from drover.states import OperationState

__all__ = ["Claim", "ClaimState", "Key", "Outcome", "claim", "release", "release_many"]

#: (instance uuid, host, epoch): the key of an allocation
Key = tuple[str, str, int]

_SCHEDULING = OperationState.SCHEDULING.value
_NO_HARDWARE = HardwareAsk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One request for a place: *candidates* are hosts, best first."""

    operation_id: str
    attempt: int
    instance_uuid: str
    candidates: tuple[str, ...]
    ask: Resources
    hardware: HardwareAsk = _NO_HARDWARE
    group: ServerGroup | None = None  # whose rule binds it


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


def claim(conn: Connection, claims: Sequence[Claim], now: datetime) -> list[Outcome]:
    """Claim a batch; answers one outcome a claim, in their order.

    :raises drover.errors.StoreBusy: it lost against others; the transaction must be rolled back.
    """
    epochs = _lock_operations(conn, claims)
    outcomes: dict[str, Outcome] = {}
    live: list[_Live] = []
    for request in claims:
        epoch = epochs.get((request.operation_id, request.attempt))
        if epoch is None:
            outcomes[request.operation_id] = Outcome(operation_id=request.operation_id, state=ClaimState.STALE)
        else:
            live.append(_Live(request, epoch))
    won = _choose(_Rooms(conn, live), live, outcomes)
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
        host_capacity.c.probation,
    )
    .where(among(host_capacity.c.host, bindparam("hosts")), *OPEN)
    .order_by(host_capacity.c.host)
)
_FREE_ONCE_LOCKED = _FREE.with_for_update()
_FREE_IF_NOT_LOCKED = _FREE.with_for_update(skip_locked=True)


@dataclass(frozen=True, slots=True)
class _Live:
    """A claim whose operation still waits, and is held."""

    request: Claim
    epoch: int

    @property
    def holder(self) -> tuple[str, int]:
        return self.request.instance_uuid, self.epoch


class _Rooms:
    """What is free on the host rows that this transaction holds."""

    def __init__(self, conn: Connection, claims: Iterable[_Live]) -> None:
        self._conn = conn
        self._free: dict[str, list[int]] = {}
        self._for_one: dict[str, bool] = {}  # hosts that one guest may try: whether that is found
        self._groups = Groups(conn, (each.request.group for each in claims if each.request.group))
        self._hardware = HardwareLeft(conn)

    def lock(self, wanted: Iterable[tuple[_Live, Sequence[str]]], *, skip_locked: bool) -> None:
        """Hold the rows of hosts that may take guests; those that another transaction holds are waited for or skipped."""
        hosts: set[str] = set()
        in_pieces: set[str] = set()
        for each, candidates in wanted:
            hosts.update(candidates)
            if each.request.hardware:
                in_pieces.update(candidates)
        query = _FREE_IF_NOT_LOCKED if skip_locked else _FREE_ONCE_LOCKED
        for host, *free, probation in self._conn.execute(query, {"hosts": listed(hosts - self._free.keys())}):
            self._free[host] = free
            if probation:
                self._for_one[host] = False
        if in_pieces:
            self._hardware.read(in_pieces & self._free.keys())

    def take(self, each: _Live, host: str) -> Won | None:
        """Its place on *host*, if there is one; what is not asked for may be overdrawn."""
        request = each.request
        free = self._free.get(host)
        wanted = (request.ask.vcpus, request.ask.memory_mib, request.ask.disk_gib)
        if free is None or any(amount and amount > left for amount, left in zip(wanted, free, strict=True)):
            return None
        if self._for_one.get(host):
            return None
        seat = self._groups.seat(request.group, host, *each.holder) if request.group else FREE
        if seat is None:
            return None
        pieces = ""
        if request.hardware:
            fitting = self._hardware.fit(host, request.hardware, each.holder)
            if fitting is None:
                return None
            self._hardware.take(host, fitting, each.holder)
            pieces = codec.to_json(fitting)
        self._groups.take(seat, host, *each.holder)
        self._free[host] = [left - amount for amount, left in zip(wanted, free, strict=True)]
        if host in self._for_one:
            self._for_one[host] = True
        return Won(
            operation_id=request.operation_id,
            attempt=request.attempt,
            instance_uuid=request.instance_uuid,
            host=host,
            epoch=each.epoch,
            vcpus=request.ask.vcpus,
            memory_mib=request.ask.memory_mib,
            disk_gib=request.ask.disk_gib,
            hardware=pieces,
            group_id=seat.group_id,
            group_slot=seat.slot,
        )


def _choose(rooms: _Rooms, claims: Sequence[_Live], outcomes: dict[str, Outcome]) -> list[Won]:
    """The first candidate with room for each, in order of the claims: first choices first, then the others.

    :param outcomes: gets one for each, by operation id.
    """
    won: list[Won] = []
    rooms.lock(((each, each.request.candidates[:1]) for each in claims), skip_locked=False)
    losers = [each for each in claims if not _settle(rooms, each, slice(1), won, outcomes)]
    if losers:
        rooms.lock(((each, each.request.candidates[1:]) for each in losers), skip_locked=True)
    for each in losers:
        _settle(rooms, each, slice(1, None), won, outcomes)
    return won


def _settle(rooms: _Rooms, each: _Live, which: slice, won: list[Won], outcomes: dict[str, Outcome]) -> bool:
    """Give it the first of those candidates that has a place, if one has."""
    request = each.request
    for position, host in list(enumerate(request.candidates))[which]:
        if place := rooms.take(each, host):
            won.append(place)
            outcomes[request.operation_id] = _outcome(request, ClaimState.CLAIMED, position)
            return True
    outcomes[request.operation_id] = _outcome(request, ClaimState.LOST, len(request.candidates))
    return False


def _outcome(request: Claim, state: ClaimState, lost: int) -> Outcome:
    """The first *lost* candidates are lost; the one after them, if there is one, is taken."""
    return Outcome(
        operation_id=request.operation_id,
        state=state,
        host=next(iter(request.candidates[lost:]), ""),
        lost=request.candidates[:lost],
    )

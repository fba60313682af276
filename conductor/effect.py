"""What decisions come to: effects as values, and the one place that writes them.

Every decision of the conductor (a sync's items, a verb, the reaper) is a pure function that answers with
effects.  :func:`apply` writes a batch of them in one fixed order of locks (operations, instances, placements,
capacity, images), so that concurrent transactions do not deadlock, and tells what must be said after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from drover.clock import to_iso
from drover.db import claim, image, instance, operation, placement, quarantine
from drover.objects.catalog import Image
from drover.objects.event import Event
from drover.objects.operation import ErrorInfo, Operation, ServiceLog
from drover.states import OperationState, PlacementState, PowerState, VmState

__all__ = [
    "AddImage",
    "Anew",
    "Applied",
    "Begin",
    "BuildFailed",
    "DropImage",
    "Effect",
    "Finish",
    "Grant",
    "Log",
    "Move",
    "Owner",
    "Release",
    "Requeue",
    "Schedule",
    "Setback",
    "Vm",
    "Wait",
    "apply",
]

#: where a placement may come from when the agent asks to start its domain
GRANTABLE = (PlacementState.RESERVED, PlacementState.HELD, PlacementState.PERMITTED)


@dataclass(frozen=True, slots=True)
class Begin:
    """The agent works on it: dispatched → running."""

    operation_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Grant:
    """The agent asks leave to start the domain of this placement: → permitted, unless it moved on."""

    operation_id: str
    attempt: int
    instance_uuid: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Finish:
    """An operation ends."""

    operation_id: str
    attempt: int
    state: OperationState
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Setback:
    """A build did not work on its host and is to be tried elsewhere: how it ends if there is no other."""

    operation_id: str
    attempt: int
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Requeue:
    """A build goes back to the scheduler with the next attempt and the next epoch, never to *exclude* again."""

    operation: Operation
    exclude: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """What it waited for has come: queued → scheduling."""

    operation_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """Columns of an instance that change; None leaves one as it is.

    With a new vm_state, what the old one had begun is over: it is not to be restarted, and it is soft-deleted
    since now or not at all.
    """

    instance_uuid: str
    vm_state: VmState | None = None
    power_state: PowerState | None = None
    host: str | None = None
    fault: ErrorInfo | None = None
    image: Image | None = None
    shelved_image_id: str | None = None
    restarts: int | None = None  # in a row up to now; it is to be started again no more than that
    launched: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Anew:
    """The instance goes to a host anew: the next epoch, and no host yet."""

    instance_uuid: str


@dataclass(frozen=True, slots=True)
class Move:
    """A placement that is in one of the states *of* goes to *to*."""

    instance_uuid: str
    host: str
    epoch: int
    to: PlacementState
    of: tuple[PlacementState, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing of the placement is left: the row goes, and with it capacity (and, once deleted, addresses)."""

    instance_uuid: str
    host: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Log:
    """Keep what a service logged."""

    operation_id: str
    document: ServiceLog


@dataclass(frozen=True, slots=True)
class AddImage:
    """An image that an operation is to fill, queued."""

    image: Image


@dataclass(frozen=True, slots=True)
class DropImage:
    """An image that its operation did not fill, or that nobody needs any more."""

    image_id: str


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """A build failed for what may be its host's fault; the same *cause* counts once."""

    host: str
    cause: str
    code: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No host can take it now, and its request waits for one: it stays in scheduling."""

    operation_id: str
    attempt: int
    words: str  # what it waits for


Effect = (
    Begin
    | Grant
    | Finish
    | Setback
    | Requeue
    | Schedule
    | Wait
    | Vm
    | Anew
    | Move
    | Release
    | BuildFailed
    | AddImage
    | DropImage
    | Log
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes, when, and until when its lease on what it touches runs."""

    name: str
    now: datetime
    until: datetime


@dataclass(slots=True)
class Applied:
    """What the caller says after the commit."""

    finished: list[str] = field(default_factory=list)
    requeued: list[str] = field(default_factory=list)
    granted: set[tuple[str, str, int]] = field(default_factory=set)  # (instance, host, epoch)
    dropped_images: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    freed: bool = False  # a host has room that it had not

    def add(self, more: Applied) -> None:
        """What another batch of the same transaction came to."""
        self.finished += more.finished
        self.requeued += more.requeued
        self.granted |= more.granted
        self.dropped_images += more.dropped_images
        self.events += more.events
        self.freed |= more.freed


def apply(conn: Connection, effects: Sequence[Effect], owner: Owner) -> Applied:
    """Write *effects* inside the caller's transaction. Repeating a batch changes nothing."""
    applied = Applied()
    _operations(conn, effects, owner, applied)
    _instances(conn, effects, owner, applied)
    _placements(conn, effects, applied)
    _images(conn, effects, owner, applied)
    for effect in effects:
        if isinstance(effect, BuildFailed):
            quarantine.record(conn, effect.host, effect.cause, effect.code, owner.now)
    operation.add_logs(conn, [(e.operation_id, e.document) for e in effects if isinstance(e, Log)])
    return applied


def _operations(conn: Connection, effects: Sequence[Effect], owner: Owner, applied: Applied) -> None:
    begun = [(e.operation_id, e.attempt) for e in effects if isinstance(e, Begin)]
    applied.events += operation.begin(conn, begun, owner.now, owner.until)
    plain: dict[OperationState, list[tuple[str, int]]] = {}
    for effect in effects:
        if isinstance(effect, Finish):
            applied.finished.append(effect.operation_id)
            if effect.error is None:
                plain.setdefault(effect.state, []).append((effect.operation_id, effect.attempt))
            else:
                pair = (effect.operation_id, effect.attempt)
                applied.events += operation.finish(conn, [pair], effect.state, effect.error, owner.now)
        elif isinstance(effect, Setback):
            operation.set_back(conn, effect.operation_id, effect.attempt, effect.error)
        elif isinstance(effect, Requeue):
            applied.requeued.append(effect.operation.id)
            applied.events += operation.requeue(
                conn, effect.operation, exclude=effect.exclude, owner=owner.name, until=owner.until
            )
        elif isinstance(effect, Schedule):
            applied.requeued.append(effect.operation_id)
            applied.events += operation.schedule(conn, effect.operation_id, effect.attempt)
        elif isinstance(effect, Wait):
            applied.events += operation.wait(conn, effect.operation_id, effect.attempt, effect.words)
    for state, pairs in plain.items():
        applied.events += operation.finish(conn, pairs, state, None, owner.now)


def _instances(conn: Connection, effects: Sequence[Effect], owner: Owner, applied: Applied) -> None:
    by_values: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for effect in effects:
        if isinstance(effect, Vm):
            if values := _columns(effect, owner.now):
                by_values.setdefault(tuple(values.items()), []).append(effect.instance_uuid)
        elif isinstance(effect, Requeue):
            instance.give_anew(conn, effect.operation.instance_uuid)
        elif isinstance(effect, Anew):
            instance.give_anew(conn, effect.instance_uuid)
    for columns, uuids in sorted(by_values.items(), key=str):
        applied.events += instance.change(conn, uuids, **dict(columns))


def _columns(effect: Vm, now: datetime) -> dict[str, Any]:
    plain = {
        "power_state": effect.power_state and effect.power_state.value,
        "host": effect.host,
        "shelved_image_id": effect.shelved_image_id,
        "launched_at": to_iso(now) if effect.launched else None,
        "deleted_at": to_iso(now) if effect.deleted else None,
    }
    values: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    if effect.vm_state is not None:
        values["vm_state"] = effect.vm_state.value
        values["restart_at"] = None
        values["soft_deleted_at"] = to_iso(now) if effect.vm_state is VmState.SOFT_DELETED else None
        if effect.vm_state is not VmState.ERROR and effect.fault is None:
            values["fault"] = ""
    if effect.fault is not None:
        values["fault"] = instance.fault_json(effect.fault.code, effect.fault.message, now)
    if effect.image is not None:
        values |= {"image_id": effect.image.id, "image_name": effect.image.name}
    if effect.restarts is not None:
        values |= {"restarts": effect.restarts, "restarted_at": to_iso(now), "restart_at": None}
    return values


def _placements(conn: Connection, effects: Sequence[Effect], applied: Applied) -> None:
    grants = [(e.instance_uuid, e.host, e.epoch) for e in effects if isinstance(e, Grant)]
    applied.granted = placement.move(conn, grants, PlacementState.PERMITTED, of=GRANTABLE)
    moves: dict[tuple[PlacementState, tuple[PlacementState, ...]], list[tuple[str, str, int]]] = {}
    for effect in effects:
        if isinstance(effect, Move):
            key = (effect.instance_uuid, effect.host, effect.epoch)
            moves.setdefault((effect.to, effect.of), []).append(key)
    for (to, of), keys in moves.items():
        placement.move(conn, keys, to, of=of)
    releases = {(e.instance_uuid, e.host, e.epoch) for e in effects if isinstance(e, Release)}
    applied.freed |= bool(claim.release_many(conn, releases))
    touched = {uuid for uuid, _, _ in releases} | {e.instance_uuid for e in effects if isinstance(e, Vm) and e.deleted}
    instance.forget_released(conn, touched)


def _images(conn: Connection, effects: Sequence[Effect], owner: Owner, applied: Applied) -> None:
    for effect in effects:
        if isinstance(effect, AddImage):
            image.add(conn, effect.image, owner.now)
    dropped = {e.image_id for e in effects if isinstance(e, DropImage)}
    image.drop(conn, dropped, owner.now)
    applied.dropped_images += sorted(dropped)

"""Events: what has changed, said once, after it was committed. Hints: some may be lost, and the journal is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from drover.objects import codec
from drover.objects.instance import Instance
from drover.objects.operation import Operation

__all__ = ["VERSION", "Event", "EventKind", "EventPage", "host_event", "instance_event", "operation_event"]

#: of the document; a new field is no new version, a field that means something else is
VERSION = 1


class EventKind(StrEnum):
    OPERATION = "operation"
    INSTANCE = "instance"
    HOST = "host"
    ALARM = "alarm"
    LOST = "lost"  # events before this one were dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One document. What does not apply is empty.

    ``kind`` is a text, since a later release may have more of them.
    """

    version: int = VERSION
    kind: str
    subject: str  # operation and instance: uuid of the instance; host: its name; alarm: its kind; lost: the source
    state: str = ""  # of the operation; vm_state; up, down, fenced …; raised or cleared
    project_id: str = ""  # of operations and instances
    name: str = ""  # of the instance; what the alarm is about
    host: str = ""
    operation_id: str = ""
    action: str = ""
    power_state: str = ""
    code: str = ""  # of the error or fault
    detail: str = ""
    source: str = ""  # the conductor that tells it
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events, oldest first, and where the next page begins."""

    events: tuple[Event, ...]
    cursor: int


codec.prepare(Event, EventPage)


def operation_event(op: Operation) -> Event:
    """An operation as it is now."""
    return Event(
        kind=EventKind.OPERATION,
        subject=op.instance_uuid,
        state=op.state,
        project_id=op.project_id,
        name=op.instance_name,
        host=op.host,
        operation_id=op.id,
        action=op.action,
        code=op.error.code if op.error else "",
        detail=op.error.message if op.error else "",
    )


def instance_event(it: Instance) -> Event:
    """An instance as it is now."""
    return Event(
        kind=EventKind.INSTANCE,
        subject=it.uuid,
        state=it.vm_state,
        project_id=it.project_id,
        name=it.name,
        host=it.host,
        power_state=it.power_state,
        code=it.fault.code if it.fault else "",
        detail=it.fault.message if it.fault else "",
    )


def host_event(name: str, state: str, detail: str = "") -> Event:
    """A host that is now up, down, registered, enabled, disabled, draining, undrained, quarantined, half-open, released,
    fenced, adoptable or forgotten; or whose aggregates changed."""
    return Event(kind=EventKind.HOST, subject=name, state=state, host=name, detail=detail)

"""``drover events``: what has changed, and what changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import click
from rich.console import Console
from rich.text import Text

from drover import errors
from drover.cli.options import Command
from drover.cli.output import STATE_STYLES, moment
from drover.cli.session import Session, pass_session
from drover.clock import from_iso
from drover.objects import codec
from drover.objects.event import Event, EventKind, operation_event
from drover.objects.name import looks_like_id
from drover.objects.operation import Operation, OperationFilter
from drover.rpc.event import EventReader, HubReader, Interest

__all__ = ["events"]

#: seconds of one look for more, and between attempts while a service is away
LOOK_S = 20.0
AGAIN_S = 2.0
#: kinds whose past is known
_KEPT = {EventKind.OPERATION.value, EventKind.ALARM.value}
#: most operations of one look back
LARGEST_PAGE = 1000
FLEET_STYLES = {
    "raised": "red",
    "cleared": "green",
    "enabled": "green",
    "undrained": "green",
    "released": "green",
    "draining": "yellow",
    "half-open": "yellow",
    "quarantined": "red",
    "adoptable": "yellow",
    "forgotten": "dim",
}


@click.command("events", cls=Command)
@click.option("--follow", is_flag=True, help="Show what changes from now on, until interrupted.")
@click.option("--instance", metavar="NAME", help="Of this instance alone.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([kind.value for kind in EventKind if kind is not EventKind.LOST]),
    multiple=True,
    help="Of this kind alone; may be repeated.",
)
@click.option("--all-projects", is_flag=True, help="Of all projects.")
@click.option("--limit", type=click.IntRange(1, LARGEST_PAGE), default=50, show_default=True, help="Without --follow.")
@pass_session
def events(
    session: Session, follow: bool, instance: str | None, kinds: tuple[str, ...], all_projects: bool, limit: int
) -> None:
    """What has changed, and what changes.

    The newest operations and the alarms that stand; with --follow what changes, as it does.

    Events are hints, told once after the change was written: some may be lost when a conductor or the broker dies. What
    counts is shown by "drover operation list". With --format json each event is a line. --timeout ends --follow.
    """
    project = "" if all_projects else session.context.project_id
    interest = Interest(kinds=kinds, project=project, instance=_uuid(session, instance) if instance else "")
    if follow:
        _follow(session, interest)
        return
    if kinds and not set(kinds) & _KEPT:
        session.warn(f"there is no history of kind {', '.join(kinds)}: --follow shows what changes from now on")
    for event in _past(session, interest, limit):
        _show(session, event)


def _uuid(session: Session, ref: str) -> str:
    """Of an instance; one that is gone is still known by its id."""
    try:
        return session.call(lambda: session.conductor.instance_show(session.context, ref)).uuid
    except errors.InstanceNotFound:
        if looks_like_id(ref):
            return ref.lower()
        raise


def _past(session: Session, interest: Interest, limit: int) -> list[Event]:
    """What the journal tells, oldest first. Instances and hosts keep no history but their operations."""
    told: list[Event] = []
    if not interest.kinds or EventKind.OPERATION in interest.kinds:
        query = OperationFilter(instance=interest.instance, all_projects=not interest.project, limit=limit)
        page = session.call(lambda: session.conductor.operation_list(session.context, query))
        told += [event for op in page.operations for event in _of(op)]
    if (not interest.kinds or EventKind.ALARM in interest.kinds) and not interest.instance:
        alarms = session.call(lambda: session.conductor.alarm_list(session.context))
        told += [
            Event(
                kind=EventKind.ALARM,
                subject=it.kind,
                name=it.subject,
                state="raised",
                detail=it.detail,
                at=from_iso(it.at),
            )
            for it in alarms
        ]
    told.sort(key=lambda event: moment(event.at))
    return told[-limit:]


def _of(op: Operation) -> Iterator[Event]:
    """Its beginning and, once it has ended, its end."""
    told = operation_event(op)
    if op.finished_at is not None:
        yield replace(told, state="queued", host="", code="", detail="", at=op.created_at)
        yield replace(told, at=op.finished_at)
    else:
        yield replace(told, at=op.started_at or op.created_at)


def _follow(session: Session, interest: Interest) -> None:
    reader: EventReader | None = None
    clock = session.runtime.clock
    until_s = clock.monotonic() + session.follow_s
    away = False
    try:
        while (left_s := until_s - clock.monotonic()) > 0:
            try:
                reader = reader or _reader(session, interest)
                came = reader.read(min(LOOK_S, left_s))
            except errors.Unavailable as exc:
                if not away:
                    session.warn(f"events may be missing: {exc}")
                away = True
                session.runtime.sleep(min(AGAIN_S, left_s))
                continue
            away = False
            for event in came:
                _show(session, event)
    finally:
        if reader is not None:
            reader.close()


def _reader(session: Session, interest: Interest) -> EventReader:
    """From the conductor itself where it keeps them (standalone), else from the broker."""
    try:
        return HubReader(session.bus, session.context, interest)
    except errors.EventsElsewhere:
        from drover.conf.bus import BusSettings
        from drover.rpc.rabbit_event import RabbitReader

        return RabbitReader(session.runtime, session.configuration.get(BusSettings), interest)


def _show(session: Session, event: Event) -> None:
    if event.kind == EventKind.LOST:
        session.warn(f"events are missing: {event.detail}")
    if session.format == "json":
        click.echo(codec.to_json(event))
    elif session.format == "yaml":
        import yaml

        click.echo(
            yaml.safe_dump(codec.to_plain(event), explicit_start=True, sort_keys=False, allow_unicode=True), nl=False
        )
    else:
        Console(file=sys.stdout, soft_wrap=True, highlight=False, emoji=False).print(_line(event))
    sys.stdout.flush()


def _line(event: Event) -> Text:
    """``2025-11-22 13:46:03Z  operation  web-1  build running on host-1``."""
    line = Text(f"{moment(event.at):20}  {event.kind:9}  ")
    match event.kind:
        case EventKind.OPERATION:
            line.append(f"{event.name or event.subject}  {event.action} ").append(_state(event.state))
        case EventKind.INSTANCE:
            line.append(f"{event.name or event.subject}  ").append(_state(event.state)).append(f", {event.power_state}")
        case EventKind.ALARM:
            line.append(f"{event.name}  {event.subject} ").append(_state(event.state))
        case _:
            line.append(f"{event.subject}  ").append(_state(event.state))
    if event.host and event.kind != EventKind.HOST:
        line.append(f" on {event.host}")
    words = ": ".join(part for part in (event.code, " ".join(event.detail.split())) if part)
    return line.append(f"  {words}", style="dim") if words else line


def _state(state: str) -> Text:
    return Text(state, style=STATE_STYLES.get(state) or FLEET_STYLES.get(state, ""))

"""``drover why`` and ``drover trace``: why an instance is where it is, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drover.cli.options import Command
from drover.cli.output import STATE_STYLES, Indented, duration, moment
from drover.cli.session import Session, pass_session
from drover.clock import age_s
from drover.objects.host import Host
from drover.objects.operation import Decision, Operation, ServiceLog, StepRecord, Trace
from drover.rpc.conductor import Why

__all__ = ["trace", "why"]

#: columns of the bars
BAR = 20
#: hosts shown of a refusal; --format json has those that the decision kept
SHOWN = 20
#: fleets up to this many hosts are asked how they are now
NOW_HOSTS = 200


def _title(it: Operation) -> Text:
    """``build of web-1  succeeded on host-2`` and the ids under it."""
    shown = Text.assemble((f"{it.action} of {it.instance_name or it.instance_uuid}", "bold"), "  ")
    shown.append(str(it.state), style=STATE_STYLES.get(it.state, ""))
    if it.host:
        shown.append(f" on {it.host}")
    if it.finished_at:
        shown.append(f" in {duration(age_s(it.created_at, it.finished_at))}")
    shown.append(f"\noperation {it.id}, asked {moment(it.created_at)}", style="dim")
    if it.error is not None:
        shown.append(f"\n{it.error.code}: {it.error.message}", style="red")
    return shown


def _grid(*kinds: str) -> Table:
    """Columns of a kind each: ``left`` and ``right`` fold when they must, ``number`` and ``bar`` never."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for kind in kinds:
        grid.add_column(
            justify="right" if kind in {"right", "number"} else "left",
            overflow="fold",
            no_wrap=kind in {"number", "bar"},
        )
    return grid


# --- why ---------------------------------------------------------------------------------------------------


@click.command("why", cls=Command)
@click.argument("ref", metavar="INSTANCE|OPERATION")
@pass_session
def why(session: Session, ref: str) -> None:
    """Why an instance is where it is, or nowhere.

    Each placement decision with its numbers. "Then" is what the scheduler saw, "now" is how the host is at this moment.
    """
    found = session.call(lambda: session.conductor.why(session.context, ref))
    session.printer.document(found, lambda: why_parts(found, _hosts_now(session, found)))


def _hosts_now(session: Session, found: Why) -> dict[str, Host]:
    """Hosts by name; empty when no decision refused any, or the fleet is too large to ask whole."""
    fleet = max((count for decision in found.decisions for _, count in decision.funnel[:1]), default=0)
    if fleet > NOW_HOSTS or not any(decision.refused for decision in found.decisions):
        return {}
    return {host.name: host for host in session.call(lambda: session.conductor.host_list(session.context))}


def why_parts(found: Why, now: Mapping[str, Host]) -> Iterator[RenderableType | Indented]:
    """The whole explanation, part by part."""
    yield _title(found.operation)
    if not found.decisions:
        yield Text(
            "no placement decision yet" if not found.operation.finished_at else "no placement was decided for it"
        )
    for decision in found.decisions:
        yield Text()
        yield _verdict(decision)
        if decision.funnel:
            yield Indented(_funnel(decision))
        if decision.refused:
            yield Text()
            yield Indented(_refusals(decision, now))
        if decision.weights:
            yield Text()
            yield Indented(_weights(decision))


def _verdict(decision: Decision) -> Text:
    shown = Text.assemble((f"attempt {decision.attempt}", "bold"), (f"  {moment(decision.at)}  ", "dim"))
    if decision.chosen:
        shown.append("chosen ").append(decision.chosen, style="green")
    else:
        shown.append("no host", style="red")
    if decision.lost:
        shown.append(f"; lost the race on {', '.join(decision.lost)}", style="yellow")
    return shown


def _funnel(decision: Decision) -> Table:
    """One line a filter: how many hosts it left, as a bar, and how many it refused."""
    grid = _grid("left", "number", "bar", "left")
    most = max(count for _, count in decision.funnel)
    before = decision.funnel[0][1]
    for name, count in decision.funnel:
        refused = before - count
        bar = "█" * (max(1, round(BAR * count / most)) if count else 0)
        grid.add_row(
            Text(name),
            Text(str(count), style="" if count else "red"),
            Text(bar, style="cyan"),
            Text(f"-{refused}" if refused else "", style="yellow" if count else "red"),
        )
        before = count
    return grid


def _refusals(decision: Decision, now: Mapping[str, Host]) -> Table:
    grid = _grid("left", "left", "left", "left")
    grid.add_row(*(Text(title, style="bold") for title in ("refused", "by", "then", "now" if now else "")))
    for host, name, words in decision.refused[:SHOWN]:
        grid.add_row(Text(host), Text(name), Text(words), Text(_now(now[host]) if host in now else "", style="dim"))
    if (rest := len(decision.refused) - SHOWN) > 0:
        grid.add_row(Text(f"and {rest} more", style="dim"), Text(), Text(), Text())
    return grid


def _now(host: Host) -> str:
    """``up; 3 vcpus, 512 MiB, 20 GiB free``."""
    state = ("up" if host.up else "down") + ("" if host.enabled else ", disabled")
    # Below zero when a host came back smaller than what was claimed of it: nothing is free then.
    vcpus = max(0, host.capacity.vcpus - host.used.vcpus)
    memory_mib = max(0, host.capacity.memory_mib - host.used.memory_mib)
    disk_gib = max(0, host.capacity.disk_gib - host.used.disk_gib)
    return f"{state}; {vcpus} vcpus, {memory_mib} MiB, {disk_gib} GiB free"


def _weights(decision: Decision) -> Table:
    names = sorted({name for _, weights, _ in decision.weights for name in weights})
    grid = _grid("left", *("right" for _ in names), "number", "left")
    grid.add_row(*(Text(title, style="bold") for title in ("best", *names, "total", "")))
    for host, weights, total in decision.weights:
        won = host == decision.chosen
        grid.add_row(
            Text(host, style="green" if won else ""),
            *(Text(f"{weights.get(name, 0.0):.3f}") for name in names),
            Text(f"{total:.3f}", style="bold" if won else ""),
            Text("chosen" if won else "lost the race" if host in decision.lost else "", style="dim"),
        )
    return grid


# --- trace -------------------------------------------------------------------------------------------------


@click.command("trace", cls=Command)
@click.argument("ref", metavar="INSTANCE|OPERATION")
@pass_session
def trace(session: Session, ref: str) -> None:
    """Where the time of an operation went.

    Each step of each service; of an instance, that of its newest operation. Times are those of each service's own machine.
    """
    found = session.call(lambda: session.conductor.trace(session.context, ref))
    session.printer.document(found, lambda: trace_parts(found))


def trace_parts(found: Trace) -> Iterator[RenderableType | Indented]:
    """The timeline, part by part."""
    yield _title(found.operation)
    yield Text()
    steps = sorted(_placed(found.logs, found.operation.created_at), key=lambda placed: placed[0])
    if not steps:
        yield Text("no step is written down yet")
        return
    end_s = max(start_s + step.duration_s for start_s, _, step in steps)
    if found.operation.finished_at is not None:
        end_s = max(end_s, age_s(found.operation.created_at, found.operation.finished_at))
    yield _timeline(steps, end_s, attempts=len({log.attempt for log in found.logs}) > 1)


def _placed(logs: tuple[ServiceLog, ...], zero: datetime) -> Iterator[tuple[float, ServiceLog, StepRecord]]:
    """Each step with its start in seconds after *zero*."""
    for log in logs:
        begun_s = (log.started_at - zero) / timedelta(seconds=1)
        for step in log.steps:
            yield max(0.0, begun_s + step.at_s), log, step


def _timeline(steps: list[tuple[float, ServiceLog, StepRecord]], end_s: float, *, attempts: bool) -> Table:
    grid = _grid("number", "number", "bar", "left", "left", "left")
    grid.add_row(*(Text(title, style="bold") for title in ("at", "took", "", "service", "step", "")))
    service = ""
    for start_s, log, step in steps:
        name = f"{log.service} #{log.attempt}" if attempts else log.service
        grid.add_row(
            Text(f"{start_s:.3f} s"),
            Text(duration(step.duration_s)),
            Text(bar(start_s, step.duration_s, end_s), style=STATE_STYLES.get(step.outcome, "cyan")),
            Text(name, style="dim" if name == service else ""),
            Text(step.name, style="" if step.outcome == "done" else STATE_STYLES.get(step.outcome, "")),
            Text("  ".join(filter(None, (step.outcome if step.outcome != "done" else "", step.detail)))),
        )
        service = name
    return grid


def bar(start_s: float, duration_s: float, end_s: float) -> str:
    """A step in :data:`BAR` columns that stand for 0 to *end_s*; a thin line when it took less than half a column."""
    if end_s <= 0:
        return "▏"
    first = min(BAR - 1, int(BAR * start_s / end_s))
    width = round(BAR * duration_s / end_s)
    return " " * first + ("█" * min(width, BAR - first) or "▏")

"""``drover why`` and ``drover trace``: why an instance is where it is, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from drover.cli.decision import BAR, decision_parts, grid
from drover.cli.options import Command
from drover.cli.output import STATE_STYLES, Indented, duration, moment
from drover.cli.page import rows
from drover.cli.session import Session, pass_session
from drover.clock import age_s
from drover.objects.host import Host
from drover.objects.operation import Decision, Operation, ServiceLog, StepRecord, Trace
from drover.objects.page import EVERY_HOST
from drover.objects.selection import HostExplanation, Then
from drover.rpc.conductor import Why

__all__ = ["trace", "why"]

#: fleets up to this many hosts are asked how they are now
NOW_HOSTS = 200
#: columns of a terminal that has room for bars beside the words
BARS_FROM = 80


def _title(it: Operation) -> Text:
    """``build of web-1  succeeded on host-2`` and the ids under it."""
    shown = Text.assemble((f"{it.action} of {it.instance_name or it.instance_uuid}", "bold"), "  ")
    shown.append(str(it.state), style=STATE_STYLES.get(it.state, ""))
    if it.host:
        shown.append(f" on {it.host}")
    if it.finished_at:
        shown.append(f" in {duration(age_s(it.created_at, it.finished_at))}")
    shown.append(f"\noperation {it.id}, asked {moment(it.created_at)}", style="dim")
    if it.waits and not it.finished_at:
        shown.append(f"\nwaits for room: {it.waits}", style="yellow")
    if it.error is not None:
        shown.append(f"\n{it.error.code}: {it.error.message}", style="red")
    return shown


# --- why ---------------------------------------------------------------------------------------------------


@click.command("why", cls=Command)
@click.argument("ref", metavar="INSTANCE|OPERATION")
@click.option(
    "--host", default="", metavar="HOST", help="How this host stood to it, and how it does now, rule by rule."
)
@pass_session
def why(session: Session, ref: str, host: str) -> None:
    """Why an instance is where it is, or nowhere.

    Each placement decision with its numbers. "Then" is what the scheduler saw, "now" is how the host is at this moment.
    """
    found = session.call(lambda: session.conductor.why(session.context, ref))
    if not host:
        session.printer.document(found, lambda: why_parts(found, _hosts_now(session, found)))
        return
    told = session.call(lambda: session.scheduler.explain(session.context, found.operation.id, host))
    session.printer.document(told, lambda: host_parts(found.operation, told))


def _hosts_now(session: Session, found: Why) -> dict[str, Host]:
    """Hosts by name; empty when no decision refused any, or the fleet is too large to ask whole."""
    fleet = max((count for decision in found.decisions for _, count in decision.funnel[:1]), default=0)
    if fleet > NOW_HOSTS or not any(decision.refused for decision in found.decisions):
        return {}
    return {host.name: host for host in rows(session, session.conductor.host_list, EVERY_HOST)}


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
        yield from decision_parts(decision, now)


def _verdict(decision: Decision) -> Text:
    shown = Text.assemble((f"attempt {decision.attempt}", "bold"), (f"  {moment(decision.at)}  ", "dim"))
    if decision.chosen:
        shown.append("chosen ").append(decision.chosen, style="green")
    else:
        shown.append("no host", style="red")
    if decision.short:
        shown.append(f"; {decision.short}", style="yellow")
    if decision.lost:
        shown.append(f"; lost the race on {', '.join(decision.lost)}", style="yellow")
    return shown


def host_parts(operation: Operation, told: HostExplanation) -> Iterator[RenderableType | Indented]:
    """One host's side of it."""
    yield _title(operation)
    yield Text()
    yield Text(f"host {told.host}", style="bold")
    past = grid("left", "left", "left", "left")
    for each in told.then:
        past.add_row(Text("then", style="dim"), Text(f"attempt {each.attempt}"), Text(moment(each.at)), _then(each))
    if told.then:
        yield Indented(past)
        yield Text()
    present = grid("left", "left", "left", "left")
    for verdict in told.verdicts:
        style = "red" if verdict.words else "green"
        word = "refuses" if verdict.words else "passes"
        present.add_row(Text("now", style="dim"), Text(verdict.filter), Text(word, style=style), Text(verdict.words))
    yield Indented(present)
    yield Text()
    yield Indented(_standing(told))


def _then(then: Then) -> Text:
    if then.outcome == "refused":
        return Text(f"refused by {then.refuser}{f': {then.words}' if then.words else ''}", style="red")
    if then.outcome == "unknown":
        return Text("not known: hosts came or went since, and it was not among those that were put down", style="dim")
    return Text(then.outcome, style="green" if then.outcome == "chosen" else "")


def _standing(told: HostExplanation) -> Text:
    """What it weighs, and how many of the others are better."""
    if not told.passed:
        return Text("no host passes every filter now")
    parts = " + ".join(f"{name} {weight:.3f}" for name, weight in sorted(told.weights.items()))
    shown = Text(f"weighs {told.total:.3f}").append(f" = {parts}" if parts else "", style="dim")
    passed = "1 host passes" if told.passed == 1 else f"{told.passed} hosts pass"
    shown.append(f"\n{passed} every filter now; {told.better or 'none'} of them weigh more than this one")
    return shown


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
    yield Timeline(steps=steps, end_s=end_s, attempts=len({log.attempt for log in found.logs}) > 1)


def _placed(logs: tuple[ServiceLog, ...], zero: datetime) -> Iterator[tuple[float, ServiceLog, StepRecord]]:
    """Each step with its start in seconds after *zero*."""
    for log in logs:
        begun_s = (log.started_at - zero) / timedelta(seconds=1)
        for step in log.steps:
            yield max(0.0, begun_s + step.at_s), log, step


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Steps, each with its start in seconds; on a narrow terminal without their bars."""

    steps: Sequence[tuple[float, ServiceLog, StepRecord]]
    end_s: float
    attempts: bool

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table(bars=options.max_width >= BARS_FROM)

    def _table(self, *, bars: bool) -> Table:
        shown = grid("number", "number", *(["bar"] if bars else []), "left", "left", "left")
        titles = ("at", "took", *([""] if bars else []), "service", "step", "")
        shown.add_row(*(Text(title, style="bold") for title in titles))
        service = ""
        for start_s, log, step in self.steps:
            name = f"{log.service} #{log.attempt}" if self.attempts else log.service
            drawn = Text(bar(start_s, step.duration_s, self.end_s), style=STATE_STYLES.get(step.outcome, "cyan"))
            shown.add_row(
                Text(f"{start_s:.3f} s"),
                Text(duration(step.duration_s)),
                *([drawn] if bars else []),
                Text(name, style="dim" if name == service else ""),
                Text(step.name, style="" if step.outcome == "done" else STATE_STYLES.get(step.outcome, "")),
                Text("  ".join(filter(None, (step.outcome if step.outcome != "done" else "", step.detail)))),
            )
            service = name
        return shown


def bar(start_s: float, duration_s: float, end_s: float) -> str:
    """A step in :data:`BAR` columns that stand for 0 to *end_s*; a thin line when it took less than half a column."""
    if end_s <= 0:
        return "▏"
    first = min(BAR - 1, int(BAR * start_s / end_s))
    width = round(BAR * duration_s / end_s)
    return " " * first + ("█" * min(width, BAR - first) or "▏")

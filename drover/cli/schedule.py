"""``drover schedule``, ``drover capacity``, ``drover rebalance``: questions to a scheduler that change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from rich.console import RenderableType
from rich.text import Text

from drover import errors
from drover.cli.decision import decision_parts, grid
from drover.cli.options import Command
from drover.cli.output import Indented
from drover.cli.session import Session, pass_session
from drover.objects.group import Hints
from drover.objects.selection import Capacity, RebalancePlan, SelectionReply, SelectionRequest
from drover.units import counted

__all__ = ["capacity", "rebalance", "schedule"]

F = TypeVar("F", bound=Callable[..., Any])

#: hosts shown of an answer; --format json has those that the scheduler named
SHOWN = 20


def _wishes(command: F) -> F:
    """The options that say what an instance asks of a host."""
    for option in reversed(
        (
            click.option("--flavor", required=True, help="Name or id."),
            click.option("--image", default="", help="Name or id.  [default: one that asks for nothing]"),
            click.option("--group", default="", help="As a new member of this server group."),
            click.option("--availability-zone", default="", metavar="NAME", help="On a host of this zone."),
            click.option("--on-host", "host", default="", metavar="HOST", help="On this host only."),
            click.option("--same-host", multiple=True, metavar="INSTANCE", help="Where any of these is. Repeatable."),
            click.option(
                "--different-host", multiple=True, metavar="INSTANCE", help="Where none of these is. Repeatable."
            ),
        )
    ):
        command = option(command)
    return command


def _request(count: int, flavor: str, image: str, hints: dict[str, Any]) -> SelectionRequest:
    return SelectionRequest(flavor=flavor, image=image, hints=Hints(**hints), count=count)


# --- schedule ----------------------------------------------------------------------------------------------


@click.command("schedule", cls=Command)
@click.option("--dry-run", is_flag=True, help="Needed: this command only asks.")
@_wishes
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many equal ones.")
@pass_session
def schedule(session: Session, /, dry_run: bool, count: int, flavor: str, image: str, **hints: Any) -> None:
    """Where instances would go now.

    Nothing is claimed, and nothing kept for them: with the next build the answer may be another.
    """
    if not dry_run:
        raise errors.BadInput(reason="only --dry-run is possible: instances are placed by drover instance create")
    request = _request(count, flavor, image, hints)
    reply = session.call(lambda: session.scheduler.select(session.context, request))
    session.printer.document(reply, lambda: _selection_parts(request, reply))


def _selection_parts(request: SelectionRequest, reply: SelectionReply) -> Iterator[RenderableType | Indented]:
    placed = len(reply.selections)
    yield Text(f"{placed} of {request.count} would be placed", style="bold green" if placed else "bold red")
    if reply.selections:
        yield Indented(_chosen(reply))
    for title, decision in (("the first of them", reply.first), ("why no more", reply.refusal)):
        if decision is not None:
            yield Text()
            yield Text(title, style="bold")
            yield from decision_parts(decision, {})


def _chosen(reply: SelectionReply) -> RenderableType:
    if len(reply.selections) == 1:
        (only,) = reply.selections
        return Text(only.host, style="green").append(
            f", else {', else '.join(only.alternates)}" if only.alternates else "", style="dim"
        )
    shown = grid("left", "number")
    counts = Counter(each.host for each in reply.selections)
    for host, count in counts.most_common(SHOWN):
        shown.add_row(Text(host, style="green"), Text(str(count)))
    if len(counts) > SHOWN:
        shown.add_row(Text(f"and {len(counts) - SHOWN} more hosts", style="dim"), Text())
    return shown


# --- capacity ----------------------------------------------------------------------------------------------


@click.command("capacity", cls=Command)
@_wishes
@pass_session
def capacity(session: Session, /, flavor: str, image: str, **hints: Any) -> None:
    """How many more of a kind fit, where, and what runs out first.

    The fleet is filled in thought, by all rules, until the next is refused.
    """
    request = _request(1, flavor, image, hints)
    found = session.call(lambda: session.scheduler.capacity(session.context, request))
    session.printer.document(found, lambda: _capacity_parts(flavor, found))


def _capacity_parts(flavor: str, found: Capacity) -> Iterator[RenderableType | Indented]:
    count = f"{found.count} more" if found.complete else f"{found.count} more at least"
    yield Text(
        f"{count} of {flavor} fit, on {counted(found.roomy, 'host')}", style="bold" if found.count else "bold red"
    )
    if found.hosts:
        shown = grid("left", "number", "left", "left")
        shown.add_row(*(Text(title, style="bold") for title in ("host", "more", "then full", "")))
        for each in found.hosts[:SHOWN]:
            shown.add_row(Text(each.host), Text(str(each.count)), Text(each.refuser), Text(each.words, style="dim"))
        if found.roomy > SHOWN:
            shown.add_row(Text(f"and {found.roomy - SHOWN} more", style="dim"), Text(), Text(), Text())
        yield Indented(shown)
    if found.full:
        yield Text()
        yield Text("what refuses the next one" if found.count else "what refuses it", style="bold")
        ends = grid("left", "number")
        for name, hosts in found.full:
            ends.add_row(Text(name), Text(counted(hosts, "host")))
        yield Indented(ends)


# --- rebalance ---------------------------------------------------------------------------------------------


@click.command("rebalance", cls=Command)
@click.option("--plan", is_flag=True, help="Needed: this command only plans.")
@click.option("--max-moves", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@pass_session
def rebalance(session: Session, plan: bool, max_moves: int) -> None:
    """The fewest moves of instances that even the load of hosts out.

    Each move keeps every rule. Nothing is moved. The spread is how far the hosts' used shares of vCPUs, memory and
    disk are from the mean, as a root mean square: 0 is even.
    """
    if not plan:
        raise errors.BadInput(reason="only --plan is possible: nothing moves instances yet")
    found = session.call(lambda: session.scheduler.rebalance(session.context, max_moves))
    session.printer.document(found, lambda: _plan_parts(found))


def _plan_parts(found: RebalancePlan) -> Iterator[RenderableType | Indented]:
    yield Text(
        f"{counted(len(found.moves), 'move')} over {counted(found.hosts, 'host')}: "
        f"spread {found.spread_before:.4f} → {found.spread_after:.4f}",
        style="bold",
    )
    shown = grid("left", "left", "left", "left", "left", "number")
    for move in found.moves:
        shown.add_row(
            Text(move.instance_name, style="bold"),
            Text(move.source),
            Text("→"),
            Text(move.destination, style="green"),
            Text(move.why, style="dim"),
            Text(f"{move.spread_before:.4f} → {move.spread_after:.4f}"),
        )
    if found.moves:
        yield Indented(shown)
    if not found.complete:
        yield Text("more would help (--max-moves)", style="yellow")

"""``drover operation``: the journal, as the user sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click
from rich.text import Text

from drover.cli.each import each, fail
from drover.cli.options import Group
from drover.cli.output import STATE_STYLES, Column, dash, duration, moment
from drover.cli.page import paged, tell_more
from drover.cli.session import Session, pass_session
from drover.cli.wait import failure_of, wait_for
from drover.clock import age_s
from drover.objects.operation import Operation, OperationFilter, OperationPage
from drover.states import OperationState

__all__ = ["COLUMNS", "operation"]


def _took(it: Operation) -> str:
    return duration(age_s(it.created_at, it.finished_at)) if it.finished_at else "-"


COLUMNS: tuple[Column[Operation], ...] = (
    Column("INSTANCE", lambda it: it.instance_name or it.instance_uuid),
    Column("ACTION", lambda it: str(it.action)),
    Column("STATE", lambda it: f"{it.state} (waits)" if it.waits else str(it.state)),
    Column("HOST", lambda it: dash(it.host), drop=3),
    Column("TOOK", _took, right=True, drop=4),
    Column("CREATED", lambda it: moment(it.created_at), drop=5),
    Column("ERROR", lambda it: Text(it.error.code if it.error else "-", style="red" if it.error else ""), drop=2),
    Column("OPERATION", lambda it: it.id, drop=1),
)


@click.group(cls=Group)
def operation() -> None:
    """Operations: what was asked of instances, and how it ended."""


@operation.command("list")
@click.option("--instance", default="", metavar="INSTANCE", help="Of this instance.")
@click.option(
    "--state",
    type=click.Choice([str(state) for state in OperationState]),
    metavar="STATE",
    help=f"In this state: {', '.join(OperationState)}.",
)
@click.option("--unfinished", is_flag=True, help="Under way only.")
@click.option("--all-projects", is_flag=True, help="Of every project.")
@paged("ID")
@pass_session
def operation_list(session: Session, /, state: str | None, everything: bool, **given: Any) -> None:
    """List operations."""
    query = OperationFilter(state=state or "", **given)
    found: list[Operation] = []
    while True:
        page = _page(session, query)
        found.extend(page.operations)
        if not everything or not page.next_marker:
            break
        query = replace(query, marker=page.next_marker)
    session.printer.rows(found, COLUMNS)
    if page.next_marker:
        tell_more(session, page.next_marker)


def _page(session: Session, query: OperationFilter) -> OperationPage:
    return session.call(lambda: session.conductor.operation_list(session.context, query))


@operation.command("show")
@click.argument("operation")
@pass_session
def operation_show(session: Session, operation: str) -> None:
    """Show one operation."""
    it = session.call(lambda: session.conductor.operation_show(session.context, operation))
    session.printer.record(it, _fields(it))


@operation.command("wait")
@click.argument("operations", nargs=-1, required=True, metavar="OPERATION...")
@pass_session
def operation_wait(session: Session, operations: tuple[str, ...]) -> None:
    """Wait until operations have ended.

    Ends with status 5 when one failed and with 7 when --timeout was over first.
    """
    ended = wait_for(session, operations)
    session.printer.rows(ended, COLUMNS)
    failures = [failure for it in ended if (failure := failure_of(it)) is not None]
    for failure in failures:
        session.error(failure)
    if failures:
        raise click.exceptions.Exit(failures[0].exit_code)


@operation.command("cancel")
@click.argument("operations", nargs=-1, required=True, metavar="OPERATION...")
@pass_session
def operation_cancel(session: Session, operations: tuple[str, ...]) -> None:
    """End operations that are under way; their hosts stop and undo them. One that has ended stays as it is.

    A delete cannot be cancelled.
    """
    ended, refused = each(operations, lambda ref: _cancel(session, ref))
    if ended:
        session.printer.rows(ended, COLUMNS)
    fail(session, refused)


def _cancel(session: Session, ref: str) -> Operation:
    return session.call(lambda: session.conductor.operation_cancel(session.context, ref))


def _fields(it: Operation) -> Iterator[tuple[str, str | Text]]:
    yield "operation", it.id
    yield "action", " ".join([str(it.action), *(f"{key}={value}" for key, value in sorted(it.params.items()))])
    yield "state", Text(str(it.state), style=STATE_STYLES.get(it.state, ""))
    yield "waits for room", Text(it.waits, style="yellow")
    if it.error is not None:
        yield "error", Text(f"{it.error.code}: {it.error.message}", style="red")
    yield "instance", f"{it.instance_name} ({it.instance_uuid})" if it.instance_name else it.instance_uuid
    yield "host", it.host
    yield "attempt", str(it.attempt)
    yield "excluded hosts", " ".join(it.excluded_hosts)
    yield "owner", it.owner
    yield "budgets", f"{it.queue_budget_s:g} s waiting, {it.run_budget_s:g} s running"
    yield "created", moment(it.created_at)
    yield "begun", moment(it.started_at)
    yield "finished", moment(it.finished_at)
    yield "took", _took(it).strip("-")
    yield "request", it.request_id
    yield "project", it.project_id
    yield "user", it.user_id

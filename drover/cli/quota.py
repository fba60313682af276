"""``drover quota``: what projects may have at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.text import Text

from drover.cli.options import Group
from drover.cli.output import Column
from drover.cli.session import Session, pass_session
from drover.objects.quota import RESOURCES, UNLIMITED, Quota, QuotaChange

__all__ = ["quota"]

#: of each resource: title, help of its option
_WORDS = {
    "instances": ("INSTANCES", "Instances."),
    "vcpus": ("VCPUS", "Virtual CPUs of all instances."),
    "memory_mib": ("MEMORY MIB", "MiB of memory of all instances."),
    "disk_gib": ("DISK GIB", "GiB of root disks of all instances."),
    "addresses": ("ADDRESSES", "Addresses: one for each network of an instance."),
}


def _use(it: Quota, resource: str) -> Text:
    """``3/10``, ``3/-`` without a limit; in red when nothing more fits."""
    used, limit = it.used.of(resource), it.limits.of(resource)
    if limit == UNLIMITED:
        return Text(f"{used}/-")
    return Text(f"{used}/{limit}", style="red" if used >= limit else "")


def _column(resource: str) -> Column[Quota]:
    return Column(_WORDS[resource][0], lambda it: _use(it, resource), right=True)


COLUMNS: tuple[Column[Quota], ...] = (Column("PROJECT", lambda it: it.project_id), *map(_column, RESOURCES))


@click.group(cls=Group)
def quota() -> None:
    """What projects may have at once."""


def _limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each resource."""
    for resource in reversed(RESOURCES):
        name = f"--{resource.replace('_', '-')}"
        kind = click.IntRange(min=UNLIMITED)
        command = click.option(name, resource, type=kind, metavar="N", help=f"{_WORDS[resource][1]} -1: no limit.")(
            command
        )
    return command


@quota.command("set")
@click.argument("name", metavar="PROJECT")
@_limits
@pass_session
def quota_set(session: Session, /, name: str, **limits: int | None) -> None:
    """Limit what PROJECT may have at once; limits that are not named stay.

    An instance counts until it is deleted: shelved, stopped, soft-deleted or in error as well. A limit below the use
    takes nothing away.
    """
    change = QuotaChange(**limits)
    # Setting the same limits again has no further effect, so it may be repeated.
    session.printer.row(session.call(lambda: session.conductor.quota_set(session.context, name, change)), COLUMNS)


@quota.command("show")
@click.argument("name", metavar="[PROJECT]", required=False)
@pass_session
def quota_show(session: Session, name: str | None) -> None:
    """Use and limits of PROJECT.  [default: the project worked in]"""
    project = name or session.context.project_id
    found = session.call(lambda: session.conductor.quota_show(session.context, project))
    session.printer.record(found, _fields(found))


def _fields(it: Quota) -> Iterator[tuple[str, str | Text]]:
    yield "project", it.project_id
    for resource in RESOURCES:
        limit = it.limits.of(resource)
        words = ", no limit" if limit == UNLIMITED else f" of {limit}"
        full = UNLIMITED != limit <= it.used.of(resource)
        yield _WORDS[resource][0].lower(), Text(f"{it.used.of(resource)}{words}", style="red" if full else "")


@quota.command("list")
@pass_session
def quota_list(session: Session) -> None:
    """List projects with limits, and their use."""
    session.printer.rows(session.call(lambda: session.conductor.quota_list(session.context)), COLUMNS)

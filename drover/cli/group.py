"""``drover group``: rules between instances."""

from __future__ import annotations

import click

from drover.cli.catalog import delete_once
from drover.cli.options import Group
from drover.cli.output import Column, moment
from drover.cli.session import Session, pass_session
from drover.objects.group import GroupPolicy, ServerGroup

__all__ = ["group"]


def _rule(it: ServerGroup) -> str:
    return f"{it.policy}, {it.max_per_host} a host" if it.max_per_host != 1 else str(it.policy)


COLUMNS: tuple[Column[ServerGroup], ...] = (
    Column("NAME", lambda it: it.name),
    Column("POLICY", _rule),
    Column("MEMBERS", lambda it: str(len(it.members)), right=True),
    Column("ID", lambda it: it.id, drop=1),
)


@click.group(cls=Group)
def group() -> None:
    """Server groups: instances that stay together, or apart."""


@group.command("create")
@click.argument("name")
@click.option("--policy", required=True, type=click.Choice([str(policy) for policy in GroupPolicy]))
@click.option(
    "--max-per-host",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many members an anti-affinity group may have on one host.",
)
@pass_session
def group_create(session: Session, name: str, policy: str, max_per_host: int) -> None:
    """Make a server group of the project. Members join it by instance create --group.

    affinity: all on one host. anti-affinity: each on a host of its own. The soft ones are wishes.
    """
    wanted = ServerGroup(id=session.runtime.uuid(), name=name, policy=GroupPolicy(policy), max_per_host=max_per_host)

    def find() -> ServerGroup | None:
        kept = session.conductor.group_list(session.context)
        return next((it for it in kept if it.id == wanted.id), None)

    made = session.create_once(lambda: session.conductor.group_create(session.context, wanted), find)
    session.printer.row(made, COLUMNS)


@group.command("list")
@pass_session
def group_list(session: Session) -> None:
    """List the project's server groups."""
    session.printer.rows(session.call(lambda: session.conductor.group_list(session.context)), COLUMNS)


@group.command("show")
@click.argument("group")
@pass_session
def group_show(session: Session, group: str) -> None:
    """Show one server group and its members."""
    it = session.call(lambda: session.conductor.group_show(session.context, group))
    session.printer.record(
        it,
        (
            ("name", it.name),
            ("id", it.id),
            ("policy", _rule(it)),
            ("members", "\n".join(it.members)),
            ("project", it.project_id),
            ("created", moment(it.created_at)),
        ),
    )


@group.command("delete")
@click.argument("group")
@pass_session
def group_delete(session: Session, group: str) -> None:
    """Delete a server group; its members stay as they are and lose the rule."""
    delete_once(session, "group", group, lambda: session.conductor.group_delete(session.context, group))

"""``drover aggregate``: hosts that have something in common, and availability zones."""

from __future__ import annotations

from collections.abc import Callable

import click

from drover.cli.catalog import delete_once, pairs
from drover.cli.options import Group
from drover.cli.output import Column, dash, moment
from drover.cli.session import Session, pass_session
from drover.objects.group import Aggregate, AggregateChange

__all__ = ["aggregate"]


def _properties(it: Aggregate) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(it.metadata.items()))


COLUMNS: tuple[Column[Aggregate], ...] = (
    Column("NAME", lambda it: it.name),
    Column("ZONE", lambda it: dash(it.availability_zone)),
    Column("HOSTS", lambda it: str(len(it.hosts)), right=True),
    Column("PROPERTIES", lambda it: dash(_properties(it)), drop=2),
    Column("ID", lambda it: it.id, drop=1),
)


@click.group(cls=Group)
def aggregate() -> None:
    """Aggregates: hosts that have something in common, and availability zones."""


@aggregate.command("create")
@click.argument("name")
@click.option("--zone", default="", metavar="NAME", help="Its hosts are this availability zone.")
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="For flavors to match. Repeatable.")
@pass_session
def aggregate_create(session: Session, name: str, zone: str, properties: tuple[str, ...]) -> None:
    """Make an aggregate without hosts.

    Properties are matched by flavors' aggregate_instance_extra_specs:KEY and by images' properties, and
    filter_tenant_id=PROJECT[,PROJECT] keeps its hosts for these projects.
    """
    wanted = Aggregate(id=session.runtime.uuid(), name=name, availability_zone=zone, metadata=pairs(properties))

    def find() -> Aggregate | None:
        kept = session.conductor.aggregate_list(session.context)
        return next((it for it in kept if it.id == wanted.id), None)

    made = session.create_once(lambda: session.conductor.aggregate_create(session.context, wanted), find)
    session.printer.row(made, COLUMNS)


@aggregate.command("list")
@pass_session
def aggregate_list(session: Session) -> None:
    """List aggregates."""
    session.printer.rows(session.call(lambda: session.conductor.aggregate_list(session.context)), COLUMNS)


@aggregate.command("show")
@click.argument("aggregate")
@pass_session
def aggregate_show(session: Session, aggregate: str) -> None:
    """Show one aggregate and its hosts."""
    _changed(session, lambda: session.conductor.aggregate_show(session.context, aggregate))


@aggregate.command("delete")
@click.argument("aggregate")
@pass_session
def aggregate_delete(session: Session, aggregate: str) -> None:
    """Delete an aggregate without hosts."""
    delete_once(session, "aggregate", aggregate, lambda: session.conductor.aggregate_delete(session.context, aggregate))


@aggregate.command("add-host")
@click.argument("aggregate")
@click.argument("host")
@pass_session
def aggregate_add_host(session: Session, aggregate: str, host: str) -> None:
    """Put a host into an aggregate.

    A host is in one availability zone at most, and keeps its zone while it has guests.
    """
    _changed(session, lambda: session.conductor.aggregate_add_host(session.context, aggregate, host))


@aggregate.command("remove-host")
@click.argument("aggregate")
@click.argument("host")
@pass_session
def aggregate_remove_host(session: Session, aggregate: str, host: str) -> None:
    """Take a host out of an aggregate; out of its availability zone only when it has no guests."""
    delete_once(
        session,
        "host",
        host,
        lambda: session.conductor.aggregate_remove_host(session.context, aggregate, host),
        done=f"removed from aggregate {aggregate}",
    )


@aggregate.command("set")
@click.argument("aggregate")
@click.option("--zone", metavar="NAME", help='Its availability zone; "" for none.')
@click.option("--property", "properties", multiple=True, metavar="KEY=VALUE", help="Set a property. Repeatable.")
@click.option("--unset", multiple=True, metavar="KEY", help="Remove a property. Repeatable.")
@pass_session
def aggregate_set(
    session: Session, aggregate: str, zone: str | None, properties: tuple[str, ...], unset: tuple[str, ...]
) -> None:
    """Change an aggregate; what is not named stays."""
    change = AggregateChange(availability_zone=zone, metadata=pairs(properties), unset=unset)
    # Setting the same again has no further effect, so it may be repeated.
    _changed(session, lambda: session.conductor.aggregate_set(session.context, aggregate, change))


def _changed(session: Session, work: Callable[[], Aggregate]) -> None:
    it = session.call(work)
    session.printer.record(
        it,
        (
            ("name", it.name),
            ("id", it.id),
            ("zone", it.availability_zone),
            ("properties", "\n".join(f"{key}={value}" for key, value in sorted(it.metadata.items()))),
            ("hosts", " ".join(it.hosts)),
            ("created", moment(it.created_at)),
        ),
    )

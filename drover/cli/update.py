"""``drover instance set|unset|lock|unlock``: changes of an instance's record."""

from __future__ import annotations

from typing import Any

import click

from drover import errors
from drover.cli.catalog import pairs
from drover.cli.each import each, fail
from drover.cli.options import Command
from drover.cli.session import Session, pass_session
from drover.objects.instance import Instance
from drover.objects.update import InstanceUpdate
from drover.states import RestartPolicy

__all__ = ["COMMANDS"]


@click.command("set", cls=Command)
@click.argument("instance")
@click.option("--name", help="A new name; the guest's own host name changes with its next rebuild.")
@click.option("--property", "metadata", multiple=True, metavar="KEY=VALUE", help="Metadata. Repeatable.")
@click.option("--tag", "tags", multiple=True, help="Add a tag. Repeatable.")
@click.option(
    "--restart",
    type=click.Choice([str(policy) for policy in RestartPolicy]),
    help="What is done when the guest ends by itself.",
)
@pass_session
def set_(session: Session, /, instance: str, **given: Any) -> None:
    """Change the name, metadata, tags or restart policy."""
    update = InstanceUpdate(
        name=given["name"],
        set_metadata=pairs(given["metadata"]),
        add_tags=given["tags"],
        restart=RestartPolicy(given["restart"]) if given["restart"] else None,
    )
    _update(session, instance, update, "changed")


@click.command("unset", cls=Command)
@click.argument("instance")
@click.option("--property", "metadata", multiple=True, metavar="KEY", help="Metadata. Repeatable.")
@click.option("--tag", "tags", multiple=True, help="Repeatable.")
@pass_session
def unset(session: Session, instance: str, metadata: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """Take metadata or tags from an instance."""
    _update(session, instance, InstanceUpdate(unset_metadata=metadata, remove_tags=tags), "changed")


@click.command("lock", cls=Command)
@click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")
@pass_session
def lock(session: Session, instances: tuple[str, ...]) -> None:
    """Refuse verbs and changes until they are unlocked."""
    _mark(session, instances, InstanceUpdate(locked=True), "locked")


@click.command("unlock", cls=Command)
@click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")
@pass_session
def unlock(session: Session, instances: tuple[str, ...]) -> None:
    """Allow verbs and changes again."""
    _mark(session, instances, InstanceUpdate(locked=False), "unlocked")


def _update(session: Session, instance: str, update: InstanceUpdate, done: str) -> None:
    if update == InstanceUpdate():
        raise errors.BadInput(reason="nothing to change was named (see --help)")
    # Repeated after a lost answer it changes nothing, unless the name it goes by is what it changed.
    uuid = instance
    if update.name is not None:
        uuid = session.call(lambda: session.conductor.instance_show(session.context, instance)).uuid
    after = session.call(lambda: session.conductor.instance_update(session.context, uuid, update))
    session.printer.confirm(after, f"instance {after.name} {done}")


def _mark(session: Session, instances: tuple[str, ...], update: InstanceUpdate, done: str) -> None:
    def mark(ref: str) -> Instance:
        return session.call(lambda: session.conductor.instance_update(session.context, ref, update))

    after, refused = each(instances, mark)
    if after:
        session.printer.confirm(after, "\n".join(f"instance {it.name} {done}" for it in after))
    fail(session, refused)


COMMANDS = (set_, unset, lock, unlock)

"""The verbs on instances: ``drover instance delete|start|stop|reboot``, of one or of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from drover import errors
from drover.cli.operation import COLUMNS
from drover.cli.options import Command
from drover.cli.session import Session, pass_session
from drover.cli.wait import failure_of, wait_for
from drover.objects.operation import Operation
from drover.states import Action

__all__ = ["delete", "reboot", "start", "stop"]

F = TypeVar("F", bound=Callable[..., Any])


def _targets(function: F) -> F:
    """What all verbs take."""
    function = click.option("--wait", is_flag=True, help="Until it has ended on all of them.")(function)
    return click.argument("instances", nargs=-1, required=True, metavar="INSTANCE...")(function)


@click.command("delete", cls=Command)
@_targets
@pass_session
def delete(session: Session, instances: tuple[str, ...], wait: bool) -> None:
    """Delete instances, whatever else runs on them."""
    act(session, Action.DELETE, instances, {}, wait=wait)


@click.command("start", cls=Command)
@_targets
@pass_session
def start(session: Session, instances: tuple[str, ...], wait: bool) -> None:
    """Start stopped instances."""
    act(session, Action.START, instances, {}, wait=wait)


@click.command("stop", cls=Command)
@_targets
@pass_session
def stop(session: Session, instances: tuple[str, ...], wait: bool) -> None:
    """Shut instances down; a guest that does not listen loses its power."""
    act(session, Action.STOP, instances, {}, wait=wait)


@click.command("reboot", cls=Command)
@_targets
@click.option("--hard", is_flag=True, help="Power off and on, without asking the guest.")
@pass_session
def reboot(session: Session, instances: tuple[str, ...], hard: bool, wait: bool) -> None:
    """Reboot instances."""
    act(session, Action.REBOOT, instances, {"type": "hard" if hard else "soft"}, wait=wait)


def act(session: Session, action: Action, instances: Sequence[str], params: dict[str, str], *, wait: bool) -> None:
    """Do *action* on each; one that is refused does not keep the others from it.

    Ends with the exit status of the first error when there was one.
    """
    begun: list[Operation] = []
    refused: list[errors.DroverError] = []
    for instance in dict.fromkeys(instances):
        try:
            begun.append(_begin(session, action, instance, params))
        except errors.Unavailable:
            raise  # nobody is there: the others would only wait as long
        except errors.DroverError as exc:
            refused.append(exc)
    ended = wait_for(session, [operation.id for operation in begun]) if wait else tuple(begun)
    if ended:
        session.printer.rows(ended, COLUMNS)
    failed = [failure for operation in ended if (failure := failure_of(operation)) is not None] if wait else []
    for error in (*refused, *failed):
        session.error(error)
    if refused or failed:
        raise click.exceptions.Exit((refused or failed)[0].exit_code)


def _begin(session: Session, action: Action, instance: str, params: dict[str, str]) -> Operation:
    key = session.runtime.uuid()
    return session.call(
        lambda: session.conductor.instance_action(session.context, instance, action, params, idempotency_key=key)
    )

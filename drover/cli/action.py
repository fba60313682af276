"""The verbs on instances, of one or of many: ``drover instance delete|start|stop|pause|…``, one row a verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from drover.cli.each import each, fail
from drover.cli.operation import COLUMNS
from drover.cli.options import Command
from drover.cli.output import Column, dash
from drover.cli.session import Session, pass_session
from drover.cli.wait import failure_of, wait_for
from drover.objects.operation import Operation
from drover.states import VERBS, Action

__all__ = ["COMMANDS", "Spec", "act"]

Params = dict[str, str]


def _given(given: Mapping[str, Any]) -> Params:
    """Options that were given, under their own names."""
    return {name: str(value) for name, value in given.items() if value}


def _flags(given: Mapping[str, Any]) -> Params:
    return {name: "true" for name, value in given.items() if value}


def _image(words: str) -> click.Option:
    return click.Option(["--image"], metavar="IMAGE", help=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One command. *params* makes the verb's parameters of the command's own options."""

    action: Action
    help: str
    options: tuple[click.Option, ...] = ()
    params: Callable[[Mapping[str, Any]], Params] = _given
    many: bool = True


SPECS = (
    Spec(
        action=Action.DELETE,
        help="Delete instances, whatever else runs on them.\n\n"
        "Where deleted instances can be restored for a while ([times] reclaim_instance_interval_s), that begins.",
        options=(click.Option(["--force"], is_flag=True, help="For good, also where they could be restored."),),
        params=_flags,
    ),
    Spec(action=Action.START, help="Start stopped instances."),
    Spec(action=Action.STOP, help="Shut instances down.\n\nA guest that does not listen loses its power."),
    Spec(
        action=Action.REBOOT,
        help="Reboot instances.",
        options=(click.Option(["--hard"], is_flag=True, help="Power off and on, without asking the guest."),),
        params=lambda given: {"type": "hard" if given["hard"] else "soft"},
    ),
    Spec(action=Action.PAUSE, help="Let the processors of instances stand still.\n\nTheir memory stays where it is."),
    Spec(action=Action.UNPAUSE, help="Let paused instances go on."),
    Spec(action=Action.SUSPEND, help="Write the memory of instances to disk, and power them off."),
    Spec(action=Action.RESUME, help="Let suspended instances go on where they were."),
    Spec(
        action=Action.REBUILD,
        help="Give instances a new root disk.\n\nThey keep their identity, addresses and host.",
        options=(_image("Name or id.  [default: each instance's own]"),),
    ),
    Spec(
        action=Action.RESCUE,
        help="Boot instances from a rescue disk.\n\nTheir own disk is the second one.",
        options=(_image("Name or id.  [default: each instance's own]"),),
    ),
    Spec(action=Action.UNRESCUE, help="Boot rescued instances from their own disk again."),
    Spec(
        action=Action.SNAPSHOT,
        help="Make an image of an instance's disk; the guest runs on.",
        options=(click.Option(["--name"], required=True, help="Of the new image."),),
        many=False,
    ),
    Spec(action=Action.SHELVE, help="Keep instances as images, and free their hosts of them."),
    Spec(action=Action.UNSHELVE, help="Bring shelved instances back, on any host."),
    Spec(action=Action.RESTORE, help="Bring deleted instances back, as long as they are kept."),
)

#: of verbs that make an image
_IMAGE_COLUMNS: tuple[Column[Operation], ...] = (
    *COLUMNS,
    Column("IMAGE", lambda it: dash(it.params.get("image_id", ""))),
)


def _command(spec: Spec) -> click.Command:
    def run(session: Session, /, instances: str | tuple[str, ...], wait: bool, **given: Any) -> None:
        targets = (instances,) if isinstance(instances, str) else instances
        act(session, spec.action, targets, spec.params(given), wait=wait)

    target = click.Argument(["instances"], nargs=-1, required=True, metavar="INSTANCE...")
    if not spec.many:
        target = click.Argument(["instances"], metavar="INSTANCE")
    waiting = click.Option(
        ["--wait"], is_flag=True, help="Until it has ended on all of them." if spec.many else "Until it has ended."
    )
    return Command(
        name=spec.action.value, callback=pass_session(run), help=spec.help, params=[target, *spec.options, waiting]
    )


COMMANDS = tuple(_command(spec) for spec in SPECS)


def act(session: Session, action: Action, instances: Sequence[str], params: Params, *, wait: bool) -> None:
    """Do *action* on each; one that is refused does not keep the others from it.

    Ends with the exit status of the first error when there was one.
    """
    begun, refused = each(instances, lambda ref: _begin(session, action, ref, params))
    ended = wait_for(session, [operation.id for operation in begun]) if wait else tuple(begun)
    if ended:
        session.printer.rows(ended, _IMAGE_COLUMNS if VERBS[action].uploads else COLUMNS)
    failed = [failure for operation in ended if (failure := failure_of(operation)) is not None] if wait else []
    fail(session, (*refused, *failed))


def _begin(session: Session, action: Action, instance: str, params: Params) -> Operation:
    key = session.runtime.uuid()
    return session.call(
        lambda: session.conductor.instance_action(session.context, instance, action, params, idempotency_key=key)
    )

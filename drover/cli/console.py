"""``drover instance console-log``: asks the agent on the instance's host."""

from __future__ import annotations

import click

from drover import errors
from drover.cli.options import Command
from drover.cli.session import Session, pass_session
from drover.rpc.agent import ConsoleLog

__all__ = ["console_log"]

KIB = 1024
#: seconds between looks with --follow
FOLLOW_S = 1.0


@click.command("console-log", cls=Command)
@click.argument("instance")
@click.option("--kib", type=click.IntRange(1, 1024), default=64, show_default=True, help="At most so much of its end.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@pass_session
def console_log(session: Session, instance: str, kib: int, follow: bool) -> None:
    """Print the end of a guest's serial console."""
    it = session.call(lambda: session.conductor.instance_show(session.context, instance))
    if not it.host:
        raise errors.InvalidState(
            action="read the console of", instance=it.name, vm_state=str(it.vm_state), allowed="placed on a host"
        )
    agent = session.agent(it.host)

    def read() -> ConsoleLog:
        return session.call(lambda: agent.console_log(session.context, it.uuid, max_bytes=kib * KIB))

    log = read()
    if session.format != "table":
        session.printer.confirm(log, "")
        return
    click.echo(log.text, nl=not follow and not log.text.endswith("\n"))
    while follow:
        session.runtime.sleep(FOLLOW_S)
        newer = read()
        click.echo(appended(log.text, newer.text), nl=False)
        log = newer


def appended(before: str, after: str) -> str:
    """What *after* has that *before* had not; both are ends of one growing text.

    All of *after* when nothing of *before* is in it: the log was cut or began anew.
    """
    if after.startswith(before):
        return after[len(before) :]
    # The window moved on: find where the last words seen stand in the new one.
    last = before[-KIB:]
    at = after.find(last) if last else -1
    return after[at + len(last) :] if at >= 0 else after

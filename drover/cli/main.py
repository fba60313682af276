"""The command ``drover``: its commands, and the one door for errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

import drover
from drover import errors
from drover.cli.options import Command, LazyGroup, Link
from drover.cli.session import Session, pass_session

__all__ = ["main", "run"]

#: exit status of a process that an interrupt or a closed pipe ended, as shells count it
INTERRUPTED = 130
PIPE_CLOSED = 141

LINKS = {
    "instance": Link("drover.cli.instance:instance", "Instances: virtual machines and what is done to them."),
    "operation": Link("drover.cli.operation:operation", "Operations: what was asked of instances, and how it ended."),
    "why": Link("drover.cli.explain:why", "Why an instance is where it is, or nowhere."),
    "events": Link("drover.cli.event:events", "What has changed, and what changes."),
    "trace": Link("drover.cli.explain:trace", "Where the time of an operation went."),
    "schedule": Link("drover.cli.schedule:schedule", "Where instances would go now."),
    "capacity": Link("drover.cli.schedule:capacity", "How many more of a kind fit, where, and what runs out first."),
    "rebalance": Link(
        "drover.cli.schedule:rebalance", "The fewest moves of instances that even the load of hosts out."
    ),
    "host": Link("drover.cli.host:host", "Hypervisor hosts."),
    "aggregate": Link(
        "drover.cli.aggregate:aggregate", "Aggregates: hosts that have something in common, and availability zones."
    ),
    "group": Link("drover.cli.group:group", "Server groups: instances that stay together, or apart."),
    "service": Link("drover.cli.host:service", "Conductors and schedulers."),
    "alarm": Link("drover.cli.host:alarm", "What needs an operator."),
    "flavor": Link("drover.cli.catalog:flavor", "Sizes of instances."),
    "image": Link("drover.cli.image:image", "Disk images that instances are made from."),
    "network": Link("drover.cli.catalog:network", "Networks of instances."),
    "keypair": Link("drover.cli.catalog:keypair", "SSH keys for instances."),
    "quota": Link("drover.cli.quota:quota", "What projects may have at once."),
    "doctor": Link(
        "drover.cli.doctor:doctor", "Compare everything that Drover keeps of the fleet, and mend what is safe to mend."
    ),
    "broker": Link("drover.cli.broker:broker", "Users and permissions on RabbitMQ."),
    "burnin": Link(
        "drover.cli.burnin:burnin", "See under load, and with faults, whether everything keeps its promises."
    ),
    "db": Link("drover.cli.database:db", "The database's schema, and how long it keeps things."),
    "standalone": Link("drover.cli.standalone:standalone", "Run all of Drover in this process, until interrupted."),
    "lab": Link("drover.cli.lab:lab", "Many hypervisor hosts on one machine."),
    "version": Link("drover.cli.main:version", "The release."),
}

EPILOG = """\b
Exit status:
  0  done                      4  conflict with what is there
  1  internal error            5  the operation failed
  2  bad input or usage        6  a service cannot be reached
  3  not found                 7  --timeout was over, it goes on

Errors are one line on standard error: "error: CODE: message" (docs/errors.md).
"""


@click.group(cls=LazyGroup, links=LINKS, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.version_option(drover.__version__, message="drover %(version)s")
def cli() -> None:
    """Drover: virtual machines on several hosts, with nothing ever stuck, lost or doubled."""


@click.command("version", cls=Command)
@pass_session
def version(session: Session) -> None:
    """The release."""
    session.printer.confirm({"version": drover.__version__}, f"drover {drover.__version__}")


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Run one command; returns the exit status. Errors are printed, never raised."""
    session = Session() if session is None else session
    try:
        status = cli.main(list(arguments), prog_name="drover", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort) as exc:
        # click makes an Abort of an interrupt, too; one without a cause is a question that was answered with no.
        declined = isinstance(exc, click.Abort) and exc.__cause__ is None
        session.note("nothing was done" if declined else "interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader (head, less) had enough, which click answers with SystemExit when it sees it first.
        # What is left in the buffer goes nowhere, or the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as exc:  # noqa: BLE001  the door: nothing leaves as a traceback
        return _failed(session, exc)
    finally:
        session.close()
    return status if isinstance(status, int) else 0


def _failed(session: Session, exc: Exception) -> int:
    if isinstance(exc, click.exceptions.NoArgsIsHelpError):
        click.echo(exc.format_message(), err=True)
        return errors.BadInput.exit_code
    if isinstance(exc, click.ClickException):
        typed: errors.DroverError = errors.BadInput(reason=_usage(exc))
    elif isinstance(exc, errors.DroverError):
        typed = exc
    else:
        typed = errors.DroverError(detail=f"{type(exc).__name__}: {exc} (--debug shows where)")
    if session.debug:
        import traceback

        traceback.print_exception(exc)
    session.error(typed)
    session.hint(typed)
    return typed.exit_code


def _usage(exc: click.ClickException) -> str:
    words = exc.format_message().rstrip(".")
    ctx = exc.ctx if isinstance(exc, click.UsageError) else None
    return f"{words} (see {ctx.command_path} --help)" if ctx is not None else words


def main() -> None:
    """Entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no box characters shows ? instead
    sys.exit(run(sys.argv[1:]))

"""``drover lab``: many hypervisor hosts on one machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from drover import errors
from drover.cli.options import Group
from drover.cli.output import Column, dash
from drover.cli.session import Session, pass_session
from drover.lab.lab import Lab, PartStatus
from drover.lab.layout import default_directory
from drover.lab.spec import Driver, LabSpec
from drover.runtime import program

__all__ = ["lab"]

DEFAULT_HOSTS = 3

COLUMNS: tuple[Column[PartStatus], ...] = (
    Column("PART", lambda it: it.name),
    Column("STATE", lambda it: it.state),
    Column("PID", lambda it: dash(it.pid), right=True),
    Column("LOG", lambda it: it.log, drop=1),
)

_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_directory,
    envvar="DROVER_LAB",
    show_default="/var/lib/drover-lab for root, else ~/.drover/lab",
    help="Where all of the lab is kept.",
)


@click.group(cls=Group)
def lab() -> None:
    """Many hypervisor hosts on one machine.

    Each host has its own network, mounts, processes, libvirtd and agent; RabbitMQ, PostgreSQL, a conductor and a
    scheduler run beside them. With --driver fake a host is an agent with fake guests, and nothing needs root.
    """


@lab.command("up")
@click.option(
    "--hosts",
    type=click.IntRange(1),
    help=f"So many, named host1, host2, …  [default: those there, or {DEFAULT_HOSTS}]",
)
@click.option("--driver", type=click.Choice([str(driver) for driver in Driver]), help="[default: libvirt]")
@_directory
@pass_session
def lab_up(session: Session, directory: Path, hosts: int | None, driver: str | None) -> None:
    """Make a lab, add hosts to it, or start what of it does not run."""
    there = _lab(session, directory)
    there.up(_wanted(there, hosts, driver), session.note)
    parts = there.status()
    session.printer.confirm(parts, f"export DROVER_CONFIG={shlex.quote(str(there.config_file))}")


def _wanted(there: Lab, hosts: int | None, driver: str | None) -> LabSpec:
    found = there.spec() if there.exists() else LabSpec(hosts=DEFAULT_HOSTS)
    return LabSpec(hosts=hosts or found.hosts, driver=Driver(driver) if driver else found.driver)


@lab.command("down")
@_directory
@pass_session
def lab_down(session: Session, directory: Path) -> None:
    """Take the lab away, with everything in it. Harmless where there is none."""
    _lab(session, directory).down()
    session.printer.confirm({"directory": str(directory), "state": "down"}, "the lab is gone")


@lab.command("status")
@_directory
@pass_session
def lab_status(session: Session, directory: Path) -> None:
    """What runs, and where its log is."""
    session.printer.rows(_lab(session, directory).status(), COLUMNS)


@lab.command("crash")
@click.argument("host")
@_directory
@pass_session
def lab_crash(session: Session, directory: Path, host: str) -> None:
    """Power failure of a host: agent, libvirtd and guests are gone at once."""
    _do(session, directory, host, lambda there: there.crash(host))


@lab.command("boot")
@click.argument("host")
@_directory
@pass_session
def lab_boot(session: Session, directory: Path, host: str) -> None:
    """Start a host that crashed.

    Guests that ran on it are started again, unless [conductor] resume_guests_state_on_host_boot is off.
    """
    _do(session, directory, host, lambda there: there.boot(host))


@lab.command("cut")
@click.argument("host")
@_directory
@pass_session
def lab_cut(session: Session, directory: Path, host: str) -> None:
    """Take a host's management link away."""
    _do(session, directory, host, lambda there: there.cut(host))


@lab.command("heal")
@click.argument("host")
@_directory
@pass_session
def lab_heal(session: Session, directory: Path, host: str) -> None:
    """Give a host its management link back."""
    _do(session, directory, host, lambda there: there.heal(host))


@lab.command("restart")
@click.argument("part")
@_directory
@pass_session
def lab_restart(session: Session, directory: Path, part: str) -> None:
    """End one part (see status) in good order, or reset a host, and start it again."""
    _do(session, directory, part, lambda there: there.restart(part, session.note))


@lab.command("kill")
@click.argument("part")
@click.option("--signal", "number", type=click.IntRange(1, 31), default=program.KILL, show_default=True)
@_directory
@pass_session
def lab_kill(session: Session, directory: Path, part: str, number: int) -> None:
    """Send a signal to one part; killed it stays dead until up, boot or restart."""
    _do(session, directory, part, lambda there: there.kill(part, number))


@lab.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_directory
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_session
def lab_run(session: Session, directory: Path, host: str, command: Sequence[str]) -> None:
    """Run a command on a host, or on the network between them (fabric): virsh list, ip addr, wget …"""
    done = _lab(session, directory).run(host, argv_of(command), capture=False)
    raise click.exceptions.Exit(done.returncode)


def argv_of(words: Sequence[str]) -> Sequence[str]:
    """What stands behind the host, without a separator: click takes away none that follows an argument.

    :raises errors.BadInput: nothing does.
    """
    argv = words[1:] if words[0] == "--" else words
    if not argv:
        raise errors.BadInput(reason="name a command to run")
    return argv


@lab.command("uri")
@click.argument("host")
@_directory
@pass_session
def lab_uri(session: Session, directory: Path, host: str) -> None:
    """The URI of a host's libvirt, for virsh and virt-manager on this machine."""
    uri = _lab(session, directory).uri(host)
    session.printer.confirm({"uri": uri}, uri)


@lab.command("image")
@pass_session
def lab_image(session: Session) -> None:
    """Build a small guest image from Debian packages, once; prints its path."""
    from drover.lab import guest_image

    path = str(guest_image.build(session.note))
    session.printer.confirm({"path": path}, path)


def _lab(session: Session, directory: Path) -> Lab:
    return Lab(directory, session.runtime)


def _do(session: Session, directory: Path, part: str, work: Callable[[Lab], None]) -> None:
    """One change to a part, then how the part is."""
    there = _lab(session, directory)
    work(there)
    shown = [it for it in there.status() if it.name == part or it.name.startswith(f"{part}.")]
    session.printer.rows(shown, COLUMNS)

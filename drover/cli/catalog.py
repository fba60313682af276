"""``drover flavor``, ``drover network``, ``drover keypair``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from drover import errors
from drover.cli.options import Group
from drover.cli.output import Column, dash
from drover.cli.page import named, page, paged
from drover.cli.session import Session, pass_session
from drover.objects.catalog import Flavor, Keypair, Network, NetworkKind
from drover.objects.page import ListFilter

__all__ = ["flavor", "keypair", "network"]

T = TypeVar("T")

FLAVOR_COLUMNS: tuple[Column[Flavor], ...] = (
    Column("NAME", lambda it: it.name),
    Column("VCPUS", lambda it: str(it.vcpus), right=True),
    Column("MEMORY MIB", lambda it: str(it.memory_mib), right=True),
    Column("DISK GIB", lambda it: str(it.disk_gib), right=True),
    Column("EXTRA SPECS", lambda it: dash(" ".join(f"{k}={v}" for k, v in sorted(it.extra_specs.items()))), drop=1),
    Column("ID", lambda it: it.id, drop=2),
)

NETWORK_COLUMNS: tuple[Column[Network], ...] = (
    Column("NAME", lambda it: it.name),
    Column("KIND", lambda it: str(it.kind)),
    Column("CIDR", lambda it: it.cidr),
    Column("GATEWAY", lambda it: dash(it.gateway), drop=1),
    Column("ADDRESSES", lambda it: dash("-".join(filter(None, (it.first, it.last)))), drop=2),
    Column("BRIDGE", lambda it: dash(it.bridge), drop=3),
    Column("DNS", lambda it: dash(" ".join(it.dns)), drop=5),
    Column("MTU", lambda it: str(it.mtu), right=True, drop=6),
    Column("ID", lambda it: it.id, drop=4),
)

KEYPAIR_COLUMNS: tuple[Column[Keypair], ...] = (
    Column("NAME", lambda it: it.name),
    Column("FINGERPRINT", lambda it: it.fingerprint),
)


# --- flavors -----------------------------------------------------------------------------------------------


@click.group(cls=Group)
def flavor() -> None:
    """Sizes of instances."""


@flavor.command("create")
@click.argument("name")
@click.option("--vcpus", type=int, required=True, help="Virtual CPUs.")
@click.option("--memory", type=int, required=True, metavar="MIB", help="Memory in MiB.")
@click.option("--disk", type=int, default=0, show_default=True, metavar="GIB", help="Root disk; 0: as the image.")
@click.option(
    "--property",
    "--extra-spec",
    "extra",
    multiple=True,
    metavar="KEY=VALUE",
    help="Extra spec: virt_type, hw:…, trait:…, pci_passthrough:alias, aggregate_instance_extra_specs:…. Repeatable.",
)
@pass_session
def flavor_create(session: Session, name: str, vcpus: int, memory: int, disk: int, extra: tuple[str, ...]) -> None:
    """Make a flavor."""
    wanted = Flavor(
        id=session.runtime.uuid(), name=name, vcpus=vcpus, memory_mib=memory, disk_gib=disk, extra_specs=pairs(extra)
    )
    made = session.create_once(
        lambda: session.conductor.flavor_create(session.context, wanted),
        lambda: _with_id(session.conductor.flavor_list(session.context, ListFilter(name=name)), wanted.id),
    )
    session.printer.row(made, FLAVOR_COLUMNS)


@flavor.command("list")
@named
@paged("NAME")
@pass_session
def flavor_list(session: Session, /, everything: bool, **given: Any) -> None:
    """List flavors."""
    found = page(session, session.conductor.flavor_list, ListFilter(**given), everything=everything)
    session.printer.rows(found, FLAVOR_COLUMNS)


@flavor.command("delete")
@click.argument("flavor")
@pass_session
def flavor_delete(session: Session, flavor: str) -> None:
    """Delete a flavor; instances keep theirs."""
    delete_once(session, "flavor", flavor, lambda: session.conductor.flavor_delete(session.context, flavor))


# --- networks ----------------------------------------------------------------------------------------------


@click.group(cls=Group)
def network() -> None:
    """Networks of instances."""


@network.command("create")
@click.argument("name")
@click.option("--cidr", required=True, metavar="A.B.C.D/N", help="The IPv4 network.")
@click.option(
    "--kind",
    type=click.Choice([str(kind) for kind in NetworkKind]),
    default="nat",
    show_default=True,
    help="nat: a private bridge per host, masqueraded; bridge: an existing bridge of the hosts.",
)
@click.option(
    "--gateway", default="", metavar="IP", help="Default route.  [default: the first address; none with --kind bridge]"
)
@click.option("--bridge", default="", metavar="DEVICE", help="Bridge device on the hosts; needed with --kind bridge.")
@click.option("--first", default="", metavar="IP", help="First address handed out.")
@click.option("--last", default="", metavar="IP", help="Last address handed out.")
@click.option("--dns", multiple=True, metavar="IP", help="Name server. Repeatable.")
@click.option("--mtu", type=int, default=1500, show_default=True, help="Bytes of a packet.")
@pass_session
def network_create(session: Session, /, **given: Any) -> None:
    """Make a network."""
    kind = NetworkKind(given.pop("kind"))
    wanted = Network(id=session.runtime.uuid(), kind=kind, **given)
    made = session.create_once(
        lambda: session.conductor.network_create(session.context, wanted),
        lambda: _with_id(session.conductor.network_list(session.context, ListFilter(name=wanted.name)), wanted.id),
    )
    session.printer.row(made, NETWORK_COLUMNS)


@network.command("list")
@named
@paged("NAME")
@pass_session
def network_list(session: Session, /, everything: bool, **given: Any) -> None:
    """List networks."""
    found = page(session, session.conductor.network_list, ListFilter(**given), everything=everything)
    session.printer.rows(found, NETWORK_COLUMNS)


@network.command("delete")
@click.argument("network")
@pass_session
def network_delete(session: Session, network: str) -> None:
    """Delete a network no instance uses."""
    delete_once(session, "network", network, lambda: session.conductor.network_delete(session.context, network))


# --- keypairs ----------------------------------------------------------------------------------------------


@click.group(cls=Group)
def keypair() -> None:
    """SSH keys for instances."""


@keypair.command("create")
@click.argument("name")
@click.option(
    "--public-key",
    "file",
    required=True,
    metavar="FILE",
    help="File of the public key, as ssh-keygen writes it; - reads standard input.",
)
@pass_session
def keypair_create(session: Session, name: str, file: str) -> None:
    """Keep a public key."""
    public_key = read_text(file, "public key").strip()

    def find() -> Keypair | None:
        kept = session.conductor.keypair_list(session.context, ListFilter(name=name))
        return next((key for key in kept if key.name == name and key.public_key == public_key), None)

    made = session.create_once(lambda: session.conductor.keypair_create(session.context, name, public_key), find)
    session.printer.row(made, KEYPAIR_COLUMNS)


@keypair.command("list")
@named
@paged("NAME")
@pass_session
def keypair_list(session: Session, /, everything: bool, **given: Any) -> None:
    """List keypairs."""
    found = page(session, session.conductor.keypair_list, ListFilter(**given), everything=everything)
    session.printer.rows(found, KEYPAIR_COLUMNS)


@keypair.command("delete")
@click.argument("name")
@pass_session
def keypair_delete(session: Session, name: str) -> None:
    """Forget a public key."""
    delete_once(session, "keypair", name, lambda: session.conductor.keypair_delete(session.context, name))


# --- shared with images ------------------------------------------------------------------------------------


def delete_once(session: Session, what: str, ref: str, delete: Callable[[], T], *, done: str = "deleted") -> None:
    """Delete, again while a service is away; "not found" after a lost answer means that it is done.

    Data formats get the value that was deleted, or null when its answer was lost.
    """
    tries = 0

    def attempt() -> T | None:
        nonlocal tries
        tries += 1
        try:
            return delete()
        except errors.NotFound:
            if tries == 1:
                raise
            return None

    gone = session.call(attempt)
    session.printer.confirm(gone, f"{what} {ref} {done}")


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict.

    :raises drover.errors.BadInput: one has no ``=`` or no key.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise errors.BadInput(reason=f"{text!r} is no KEY=VALUE")
        found[key] = value
    return found


def read_text(file: str, what: str) -> str:
    """The text of a file, or of standard input for ``-``.

    :raises drover.errors.BadInput: it cannot be read or is no UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except OSError as exc:
        raise errors.BadInput(reason=f"{what}: cannot read {file}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise errors.BadInput(reason=f"{what}: {file} is no UTF-8 text") from None


def _with_id(values: Iterable[T], wanted: str) -> T | None:
    return next((value for value in values if getattr(value, "id", None) == wanted), None)

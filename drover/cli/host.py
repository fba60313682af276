"""``drover host``, ``drover service``, ``drover alarm``: the fleet itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import click
from rich.console import RenderableType
from rich.text import Text

from drover.cli.catalog import delete_once
from drover.cli.confirm import agreed, previewed
from drover.cli.hardware import hardware_rows
from drover.cli.options import Group
from drover.cli.output import STATE_STYLES, Column, Indented, dash, moment
from drover.cli.page import named, page, paged
from drover.cli.session import Session, pass_session
from drover.clock import from_iso
from drover.objects.host import Host
from drover.objects.page import HostFilter, HostState
from drover.objects.preview import HostChange
from drover.rpc.conductor import Alarm, Service
from drover.units import MIB, human_bytes

__all__ = ["alarm", "host", "service"]


def _state(it: Host) -> Text:
    word = "fenced" if it.fence else "up" if it.up else "down"
    shown = Text(word, style=STATE_STYLES[word])
    marks = (("disabled", not it.enabled), ("draining", it.draining), ("quarantine", bool(it.quarantine)))
    for mark, has in marks:
        if has:
            shown.append(f", {mark}", style=STATE_STYLES["disabled"])
    return shown


def _reason(it: Host) -> str:
    return it.fence.reason if it.fence else it.disabled_reason or it.quarantine


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f}"


def _share(used: float, total: float, shown: str) -> Text:
    """``3/16``, in yellow from 80 % and in red when full."""
    fill = used / total if total else 0.0
    return Text(shown, style="red" if fill >= 1.0 else "yellow" if fill >= 0.8 else "")


HOST_COLUMNS: tuple[Column[Host], ...] = (
    Column("HOST", lambda it: it.name),
    Column("STATE", _state),
    Column("GUESTS", lambda it: str(it.instances), right=True),
    Column(
        "VCPUS",
        lambda it: _share(it.used.vcpus, it.capacity.vcpus, f"{it.used.vcpus}/{it.capacity.vcpus}"),
        right=True,
    ),
    Column(
        "MEMORY GIB",
        lambda it: _share(
            it.used.memory_mib, it.capacity.memory_mib, f"{_gib(it.used.memory_mib)}/{_gib(it.capacity.memory_mib)}"
        ),
        right=True,
    ),
    Column(
        "DISK GIB",
        lambda it: _share(it.used.disk_gib, it.capacity.disk_gib, f"{it.used.disk_gib}/{it.capacity.disk_gib}"),
        right=True,
        drop=2,
    ),
    Column("CPU", lambda it: f"{it.usage.cpu_percent:.0f}%" if it.usage else "-", right=True, drop=1),
    Column("VIRT", lambda it: dash(",".join(it.inventory.virt_types)), drop=4),
    Column("LAST SYNC", lambda it: dash(moment(it.last_sync_at)), drop=3),
    Column("ZONE", lambda it: dash(it.availability_zone), drop=6),
    Column("REASON", lambda it: dash(_reason(it)), drop=5),
)


@click.group(cls=Group)
def host() -> None:
    """Hypervisor hosts."""


@host.command("list")
@named
@click.option("--state", type=click.Choice([str(state) for state in HostState]), help="In this state.")
@click.option("--aggregate", default="", metavar="NAME", help="In this aggregate.")
@click.option("--zone", "availability_zone", default="", metavar="NAME", help="In this availability zone.")
@paged("HOST")
@pass_session
def host_list(session: Session, /, state: str | None, everything: bool, **given: Any) -> None:
    """List hosts: used and claimable of each."""
    query = HostFilter(state=HostState(state) if state else None, **given)
    session.printer.rows(page(session, session.conductor.host_list, query, everything=everything), HOST_COLUMNS)


@host.command("show")
@click.argument("host")
@pass_session
def host_show(session: Session, host: str) -> None:
    """Show one host: who it is, what it has, how it does."""
    _show(session, session.call(lambda: session.conductor.host_show(session.context, host)))


@host.command("enable")
@click.argument("host")
@pass_session
def host_enable(session: Session, host: str) -> None:
    """Let new instances come to a host again."""
    _show(session, session.call(lambda: session.conductor.host_set_enabled(session.context, host, True)))


@host.command("disable")
@click.argument("host")
@click.option("--reason", required=True, help="Shown to everyone who asks why.")
@pass_session
def host_disable(session: Session, host: str, reason: str) -> None:
    """Keep new instances off a host; those it has stay."""
    _show(
        session,
        session.call(lambda: session.conductor.host_set_enabled(session.context, host, enabled=False, reason=reason)),
    )


@host.command("drain")
@click.argument("host")
@pass_session
def host_drain(session: Session, host: str) -> None:
    """Keep new guests off a host because its own are to leave it.

    Those it has stay for now: no guest is moved by this release.
    """
    _show(session, session.call(lambda: session.conductor.host_set_draining(session.context, host, draining=True)))


@host.command("undrain")
@click.argument("host")
@pass_session
def host_undrain(session: Session, host: str) -> None:
    """Let guests come to a host that was drained."""
    _show(session, session.call(lambda: session.conductor.host_set_draining(session.context, host, draining=False)))


@host.command("release")
@click.argument("host")
@pass_session
def host_release(session: Session, host: str) -> None:
    """Say that builds work on a host again.

    It leaves quarantine, and what failed there is forgotten.
    """
    _show(session, session.call(lambda: session.conductor.host_release(session.context, host)))


@host.command("adopt")
@click.argument("host")
@pass_session
def host_adopt(session: Session, host: str) -> None:
    """Let a replaced or fenced machine in.

    The next agent that registers under the name may be another machine. Do this only when the old machine is
    gone for good: its guests are taken for off. A fence is lifted: the machine removes what was deleted or went
    elsewhere meanwhile, and keeps the rest.
    """
    _show(session, session.call(lambda: session.conductor.host_adopt(session.context, host)))


@host.command("fence")
@click.argument("host")
@click.option("--attest", "reason", required=True, metavar="REASON", help="How you know that the machine is off.")
@previewed
@pass_session
def host_fence(session: Session, host: str, reason: str, dry_run: bool, yes: bool) -> None:
    """Say that a silent host's machine is off.

    And that it stays off until drover host adopt. Builds there go to other hosts, deletes are over, and its instances
    are in error, their disks kept. If the machine runs after all, a guest may come to run twice: look, or cut its
    power, first.
    """
    change = session.call(lambda: session.conductor.host_fence(session.context, host, reason, dry_run=True))
    if not dry_run:
        if not agreed(session, f"Is the machine of {host} off, and will it stay off?", change.consequences, yes=yes):
            raise click.Abort
        change = session.call(lambda: session.conductor.host_fence(session.context, host, reason))
    _tell(session, change, "fenced")


@host.command("forget")
@click.argument("host")
@previewed
@pass_session
def host_forget(session: Session, host: str, dry_run: bool, yes: bool) -> None:
    """Remove a host that never comes back: silent and empty, or fenced.

    With a fenced host goes everything it has: the disks of its instances are given up.
    """
    change = session.call(lambda: session.conductor.host_forget(session.context, host, dry_run=True))
    if dry_run:
        _tell(session, change, "forgotten")
        return
    if not agreed(session, f"Forget host {host}?", change.consequences, yes=yes):
        raise click.Abort
    delete_once(session, "host", host, lambda: session.conductor.host_forget(session.context, host), done="forgotten")


def _tell(session: Session, change: HostChange, done: str) -> None:
    word = done if change.done else f"not {done} yet"
    session.printer.document(change, lambda: _parts(change, f"host {change.host.name} {word}"))


def _parts(change: HostChange, head: str) -> Iterator[RenderableType | Indented]:
    yield Text(head)
    yield from (Indented(Text(f"{each.subject}: {each.effect}")) for each in change.consequences)


def _show(session: Session, it: Host) -> None:
    session.printer.record(it, (*_standing(it), *_resources(it), *_machine(it)))


def _standing(it: Host) -> Iterator[tuple[str, str | Text]]:
    """Whether guests come to it."""
    yield "host", it.name
    yield "state", _state(it)
    yield "disabled because", it.disabled_reason
    yield "in quarantine", it.quarantine
    yield "failed builds", str(it.failures or "")
    yield "fenced", f"{moment(it.fence.at)} by {it.fence.by}: {it.fence.reason}" if it.fence else ""
    yield "zone", it.availability_zone
    yield "aggregates", " ".join(it.aggregates)


def _resources(it: Host) -> Iterator[tuple[str, str | Text]]:
    """What is used of what it has."""
    inv, used, most = it.inventory, it.used, it.capacity
    reserved = inv.reserved
    yield "instances", str(it.instances)
    yield "vcpus", _resource(used.vcpus, most.vcpus, inv.vcpus, reserved.vcpus, inv.vcpus_ratio, "")
    yield (
        "memory",
        _resource(used.memory_mib, most.memory_mib, inv.memory_mib, reserved.memory_mib, inv.memory_ratio, " MiB"),
    )
    yield "disk", _resource(used.disk_gib, most.disk_gib, inv.disk_gib, reserved.disk_gib, inv.disk_ratio, " GiB")
    yield from hardware_rows(inv.hardware)
    yield "load", _load(it)


def _machine(it: Host) -> Iterator[tuple[str, str | Text]]:
    """Who it is."""
    yield "address", it.address
    yield "hypervisor", it.inventory.hypervisor
    yield "virt types", ", ".join(it.inventory.virt_types)
    yield "architecture", it.inventory.architecture
    yield "traits", " ".join(it.inventory.traits)
    yield "last sync", moment(it.last_sync_at)
    yield "registered", moment(it.registered_at)
    yield "session", str(it.session)
    yield "host uuid", it.host_uuid
    yield "machine id", it.machine_id
    yield "boot id", it.boot_id
    yield "agent version", it.version
    yield "foreign domains", " ".join(it.foreign_domains)
    yield "orphan domains", Text(" ".join(it.orphan_domains), style="red")


def _resource(used: int, capacity: int, total: int, reserved: int, ratio: float, unit: str) -> Text:
    fill = 100 * used / capacity if capacity else 0.0
    shown = _share(used, capacity, f"{used} of {capacity}{unit} claimed ({fill:.0f}%)")
    return shown.append(f"   (total {total} - reserved {reserved}) x {ratio:g}", style="dim")


def _load(it: Host) -> str:
    if it.usage is None:
        return ""
    memory_used, memory_total = (
        human_bytes(mib * MIB) for mib in (it.usage.memory_used_mib, it.usage.memory_total_mib)
    )
    return (
        f"CPU {it.usage.cpu_percent:.0f}%, load {it.usage.load_1m:.2f}, memory {memory_used} of {memory_total}, "
        f"disk {it.usage.disk_used_gib:.1f} of {it.usage.disk_total_gib:.1f} GiB"
    )


# --- services and alarms -----------------------------------------------------------------------------------

SERVICE_COLUMNS: tuple[Column[Service], ...] = (
    Column("KIND", lambda it: it.kind),
    Column("NAME", lambda it: it.name),
    Column("STATE", lambda it: "up" if it.up else "down"),
    Column("VERSION", lambda it: it.version),
)

ALARM_COLUMNS: tuple[Column[Alarm], ...] = (
    Column("AT", lambda it: moment(from_iso(it.at))),
    Column("KIND", lambda it: Text(it.kind, style="red")),
    Column("SUBJECT", lambda it: it.subject),
    Column("DETAIL", lambda it: it.detail),
)


@click.group(cls=Group)
def service() -> None:
    """Conductors and schedulers."""


@service.command("list")
@pass_session
def service_list(session: Session) -> None:
    """List conductors and schedulers."""
    session.printer.rows(session.call(lambda: session.conductor.service_list(session.context)), SERVICE_COLUMNS)


@click.group(cls=Group)
def alarm() -> None:
    """What needs an operator."""


@alarm.command("list")
@pass_session
def alarm_list(session: Session) -> None:
    """List alarms that stand."""
    session.printer.rows(session.call(lambda: session.conductor.alarm_list(session.context)), ALARM_COLUMNS)


@alarm.command("clear")
@click.argument("kind")
@click.argument("subject")
@pass_session
def alarm_clear(session: Session, kind: str, subject: str) -> None:
    """Acknowledge an alarm that stands until somebody does. Others go with their cause."""
    clear = partial(session.conductor.alarm_clear, session.context, kind, subject)
    delete_once(session, "alarm", f"{kind} {subject}", clear, done="cleared")

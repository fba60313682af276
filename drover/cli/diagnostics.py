"""``drover instance diagnostics``: asks the agent on the instance's host."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.text import Text

from drover import errors
from drover.cli.options import Command
from drover.cli.output import duration
from drover.cli.session import Session, pass_session
from drover.objects.guest import Diagnostics
from drover.units import MIB, human_bytes

__all__ = ["diagnostics"]


@click.command("diagnostics", cls=Command)
@click.argument("instance")
@pass_session
def diagnostics(session: Session, instance: str) -> None:
    """Show what the hypervisor tells of a guest now."""
    it = session.call(lambda: session.conductor.instance_show(session.context, instance))
    if not it.host:
        raise errors.InstanceNotPlaced(action="diagnose", instance=it.name)
    agent = session.agent(it.host)
    found = session.call(lambda: agent.diagnostics(session.context, it.uuid))
    session.printer.record(found, _fields(found))


def _fields(found: Diagnostics) -> Iterator[tuple[str, str | Text]]:
    yield "instance", found.instance_uuid
    yield "hypervisor", found.hypervisor
    yield "power", str(found.power_state)
    yield "uptime", "" if found.uptime_s is None else duration(found.uptime_s)
    yield "vcpus", "\n".join(f"{number}: {duration(used)} used" for number, used in enumerate(found.cpu_time_s))
    given, resident = (human_bytes(mib * MIB) for mib in (found.memory_mib, found.memory_rss_mib))
    yield "memory", f"{given} given, {resident} resident"
    yield "disks", "\n".join(_line(disk, "device") for disk in found.disks)
    yield "interfaces", "\n".join(_line(nic, "mac") for nic in found.nics)
    yield "guest agent", "answers" if found.guest_agent else "none"


def _line(counters: dict[str, int | str], name: str) -> str:
    """``vda  read 1.0 MiB in 40 requests, …`` would need a word for each; names and numbers are what one greps for."""
    rest = (f"{key}={value}" for key, value in counters.items() if key != name)
    return f"{counters.get(name, '?')}  {' '.join(rest)}"

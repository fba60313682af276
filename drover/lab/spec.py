"""What a lab is: a value kept in its directory, so that every later command finds the same lab."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from drover import errors
from drover.lab.layout import Layout
from drover.objects import codec

__all__ = [
    "GATEWAY",
    "Driver",
    "LabSpec",
    "address_of",
    "check_own",
    "host_uuid_of",
    "load",
    "number_of",
    "save",
    "settled",
    "validate",
]

#: the fabric's address on the hosts' management network; broker and depot are reached there
GATEWAY = "10.77.0.254"
#: memory of the machine bounds it far earlier; names of links must stay within 15 characters
MAX_HOSTS = 200
MAX_SERVICES = 9
#: sun_path holds 108 bytes, the last of which is 0
MAX_SOCKET_PATH = 107

_NAMESPACE = uuid.UUID("4f9c8f5e-6c6e-5c0e-9f55-64726f766572")
_HOST = re.compile(r"host([1-9][0-9]{0,2})")


class Driver(StrEnum):
    LIBVIRT = "libvirt"  # hosts are namespaces with a libvirtd each; needs root
    FAKE = "fake"  # hosts are agents with the fake driver; needs nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """A lab. Its ports lie in one block on 127.0.0.1; the fabric has the same numbers in front of them.

    ``settings`` go into every configuration file: ``{"times": {"sync_interval_s": "1"}}``.
    ``links`` false lets fake hosts reach the broker without a relay: they can not be cut, and cost less.
    """

    hosts: int
    driver: Driver = Driver.LIBVIRT
    services: bool = True
    conductors: int = 1
    schedulers: int = 1
    links: bool = True
    first_port: int = 0  # 0 until the lab is made; see the properties
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def broker_port(self) -> int:
        return self.first_port

    @property
    def broker_dist_port(self) -> int:
        """And the one above it."""
        return self.first_port + 1

    @property
    def database_port(self) -> int:
        return self.first_port + 3

    def depot_port(self, conductor: int) -> int:
        """Of a conductor, counted from 1."""
        return self.first_port + 3 + conductor

    def link_port(self, host: str) -> int:
        """Where a fake host's cable begins."""
        return self.first_port + 16 + number_of(host)

    def host_names(self) -> tuple[str, ...]:
        return tuple(f"host{number}" for number in range(1, self.hosts + 1))


def number_of(host: str) -> int:
    """:raises errors.HostNotFound: no name of a lab's host."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise errors.HostNotFound(ref=host)
    return int(match[1])


def address_of(host: str) -> str:
    """The host's address on the management network."""
    return f"10.77.0.{number_of(host)}"


def host_uuid_of(host: str, directory: Path) -> str:
    """The same for the same host of the same lab; no two labs share one."""
    return str(uuid.uuid5(_NAMESPACE, f"{directory}/{host}"))


def validate(spec: LabSpec, directory: Path) -> None:
    """:raises errors.BadInput: no such lab is possible here."""
    if not 1 <= spec.hosts <= MAX_HOSTS:
        raise errors.BadInput(reason=f"a lab has 1 to {MAX_HOSTS} hosts, not {spec.hosts}")
    if ":" in str(directory):
        raise errors.BadInput(reason=f"directory {directory}: no colons, they end names in the marks of processes")
    longest = Layout(directory).socket(f"host{spec.hosts}")
    if len(os.fsencode(longest)) > MAX_SOCKET_PATH:
        raise errors.BadInput(
            reason=f"directory {directory} is too long: {longest} is over {MAX_SOCKET_PATH} characters"
        )
    if not (1 <= spec.conductors <= MAX_SERVICES and 1 <= spec.schedulers <= MAX_SERVICES):
        raise errors.BadInput(reason=f"a lab has 1 to {MAX_SERVICES} conductors and schedulers")
    if spec.driver is Driver.LIBVIRT and os.geteuid() != 0:
        raise errors.BadInput(reason="hosts with libvirt need root; try sudo, or --driver fake")


def settled(wanted: LabSpec, found: LabSpec | None) -> LabSpec:
    """The lab to be: the one that is there, grown to as many hosts as wanted; its ports and the rest stay.

    :raises errors.BadInput: it is of another kind, or would have to shrink.
    """
    if found is None:
        return wanted
    if wanted.driver is not found.driver:
        raise errors.BadInput(reason=f"the lab here has the {found.driver} driver; take it down first")
    if wanted.hosts < found.hosts:
        raise errors.BadInput(reason=f"the lab here has {found.hosts} hosts; take it down to have fewer")
    return replace(found, hosts=wanted.hosts)


def check_own(layout: Layout) -> None:
    """See that the directory is a lab's, or as good as empty: everything in it goes with the lab.

    :raises errors.BadInput: it holds something else.
    """
    names = {entry.name for entry in layout.directory.iterdir()}
    if layout.spec.name not in names and names - {_beside(layout).name}:
        raise errors.BadInput(reason=f"{layout.directory} is no lab and not empty; a lab needs a directory of its own")


def _beside(layout: Layout) -> Path:
    return layout.spec.with_suffix(".new")


def save(spec: LabSpec, layout: Layout) -> None:
    """Kept whole or not at all."""
    beside = _beside(layout)
    beside.write_text(codec.to_json(spec) + "\n")
    beside.rename(layout.spec)


def load(layout: Layout) -> LabSpec | None:
    """The lab of the directory; ``None`` where there is none."""
    try:
        return codec.from_json(layout.spec.read_text(), LabSpec, what=str(layout.spec))
    except FileNotFoundError:
        return None

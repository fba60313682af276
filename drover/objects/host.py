"""Hypervisor hosts: what they have, who they are, how they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from drover.objects.hardware import Hardware

__all__ = [
    "Fence",
    "Host",
    "HostIdentity",
    "HostUsage",
    "Inventory",
    "RegisterReply",
    "Registration",
    "Resources",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """An amount of the things that are claimed."""

    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a host offers. Capacity of a thing = (total - reserved) × allocation ratio, rounded down."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    reserved: Resources = field(default_factory=Resources)
    vcpus_ratio: float = 4.0
    memory_ratio: float = 1.0
    disk_ratio: float = 1.0
    architecture: str = "x86_64"
    virt_types: tuple[str, ...] = ()  # what works here, best first: ("kvm", "qemu")
    traits: tuple[str, ...] = ()
    hypervisor: str = ""  # "QEMU 7.2.17, libvirt 9.0.0"
    driver: str = ""
    hardware: Hardware = field(default_factory=Hardware)

    def capacity(self) -> Resources:
        """What may be claimed in all."""
        return Resources(
            vcpus=int((self.vcpus - self.reserved.vcpus) * self.vcpus_ratio),
            memory_mib=int((self.memory_mib - self.reserved.memory_mib) * self.memory_ratio),
            disk_gib=int((self.disk_gib - self.reserved.disk_gib) * self.disk_ratio),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsage:
    """The real load of a host."""

    cpu_percent: float = 0.0  # of all CPUs, 0-100
    load_1m: float = 0.0
    memory_used_mib: int = 0
    memory_total_mib: int = 0
    disk_used_gib: float = 0.0
    disk_total_gib: float = 0.0
    guests: int = 0
    io_operations: int = 0  # builds, snapshots and other work on disks that the agent is at
    images: tuple[str, ...] = ()  # ids in its image cache, sorted
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    host: str
    host_uuid: str  # kept in the agent's state dir
    machine_id: str
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    identity: HostIdentity
    inventory: Inventory
    address: str = ""
    version: str = ""
    incarnation: int = 0  # rises with every start of this host's agent; kept in its state dir


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReply:
    session: int
    deployment_id: str
    lease_s: float
    next_sync_s: float
    seal: str = ""  # proves later that this session was given, also to a database that does not know it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """An operator's word that a machine is off, and stays off until it is adopted."""

    reason: str
    by: str  # user id
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    name: str
    host_uuid: str
    machine_id: str
    boot_id: str
    session: int
    address: str = ""
    version: str = ""
    enabled: bool = True
    disabled_reason: str = ""
    up: bool = False
    inventory: Inventory
    capacity: Resources
    used: Resources
    usage: HostUsage | None = None
    instances: int = 0
    last_sync_at: datetime | None = None
    registered_at: datetime | None = None
    fence: Fence | None = None
    draining: bool = False
    quarantine: str = ""  # why it was set aside
    failures: int = 0  # builds that failed there of late
    aggregates: tuple[str, ...] = ()  # names, sorted
    availability_zone: str = ""
    foreign_domains: tuple[str, ...] = ()
    orphan_domains: tuple[str, ...] = ()  # instance uuids: domains of ours that no placement here names

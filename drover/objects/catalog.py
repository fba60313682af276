"""Flavors, images, keypairs and networks: what an instance is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["Flavor", "Image", "ImageFormat", "ImageStatus", "Keypair", "Network", "NetworkKind", "Port"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A size of instance. ``extra_specs`` keys Drover reads: ``virt_type`` (``kvm`` or ``qemu``)."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    extra_specs: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None


class ImageStatus(StrEnum):
    QUEUED = "queued"  # created, bytes not complete
    ACTIVE = "active"
    ERROR = "error"


class ImageFormat(StrEnum):
    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A disk image. Bytes come from the depot (``url`` empty) or from ``url``."""

    id: str
    name: str
    status: ImageStatus = ImageStatus.QUEUED
    format: ImageFormat = ImageFormat.QCOW2
    size_bytes: int = 0
    virtual_size_bytes: int = 0
    sha256: str = ""  # lower-case hex; empty until known
    url: str = ""
    architecture: str = "x86_64"
    virt_type: str = ""  # "" = whatever the host has
    min_memory_mib: int = 0
    min_disk_gib: int = 0
    properties: dict[str, str] = field(default_factory=dict)  # what it asks of a host, by the keys of a flavor's
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keypair:
    name: str
    public_key: str
    fingerprint: str  # SHA256:…, as ssh-keygen -l prints it
    project_id: str = "default"
    created_at: datetime | None = None


class NetworkKind(StrEnum):
    NAT = "nat"  # a private bridge per host, masqueraded
    BRIDGE = "bridge"  # an existing bridge of the host


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """An IPv4 network. Address ``n`` of it always has MAC ``52:54:iiii:nnnn`` (*mac_index*, *n*), so DHCP tables are fixed."""

    id: str
    name: str
    kind: NetworkKind
    cidr: str
    gateway: str = ""
    bridge: str = ""  # device name on the hosts
    first: str = ""  # first and last address handed out
    last: str = ""
    dns: tuple[str, ...] = ()
    mtu: int = 1500
    mac_index: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One interface of an instance. Released only when the placement's row goes."""

    id: str
    instance_uuid: str
    network_id: str
    network_name: str
    mac: str
    ip: str
    position: int = 0  # 0 = first interface

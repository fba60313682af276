"""A guest as the agent and its driver see it: everything needed to make it, nothing to look up."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from drover.objects.hardware import HardwareClaim
from drover.states import PowerState

__all__ = ["Diagnostics", "GuestClass", "GuestPort", "GuestSpec", "GuestState", "ImageSource", "UploadTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Where the bytes of an image come from and what they must be."""

    id: str
    format: str
    sha256: str  # "" = not known beforehand
    size_bytes: int
    virtual_size_bytes: int
    url: str  # http(s) or file; the depot's when the conductor holds the bytes
    token: str = field(default="", repr=False)  # bearer token for the depot


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTarget:
    """Where a host sends the bytes of an image: ``PUT {url}/v1/images/{id}?offset=N``, then ``POST …/complete``."""

    image_id: str
    url: str
    token: str = field(repr=False)  # bearer token for this image
    chunk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPort:
    mac: str
    ip: str
    prefix_len: int
    gateway: str
    dns: tuple[str, ...]
    mtu: int
    network_id: str
    network_name: str
    kind: str  # NetworkKind
    bridge: str
    cidr: str
    mac_index: int
    first: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """The frozen description of one guest. The digest of it is stamped into the domain."""

    deployment_id: str
    uuid: str
    epoch: int
    name: str
    hostname: str
    project_id: str
    user_id: str
    flavor_name: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    virt_type: str = ""  # "" = the host's best
    image: ImageSource
    ports: tuple[GuestPort, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    user_data: str = field(default="", repr=False)
    metadata: dict[str, str] = field(default_factory=dict)
    hardware: HardwareClaim = field(default_factory=HardwareClaim)  # what was claimed; empty: an ordinary guest


class GuestClass(StrEnum):
    """Whose a domain on the hypervisor is (DESIGN §3, domain identity). Epochs are judged by the conductor."""

    OURS = "ours"  # metadata uuid equals the domain's uuid and the deployment is ours
    FOREIGN = "foreign"  # anything else: listed, never touched


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestState:
    """One domain as the hypervisor shows it. ``operation_id`` is the last stamp (evidence for reboot and the like)."""

    uuid: str
    name: str
    kind: GuestClass
    epoch: int = 0
    power_state: PowerState = PowerState.UNKNOWN
    operation_id: str = ""
    spec_digest: str = ""
    saved: bool = False  # off, with its memory on the host's disk: the next start goes on from there
    rescue: bool = False  # defined to boot from its rescue disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """One guest in detail, as its hypervisor tells it now. Nova's diagnostics, by Nova's names where it has them."""

    instance_uuid: str
    hypervisor: str  # "qemu", "kvm", "fake"
    power_state: PowerState
    uptime_s: float | None = None  # None: off, or not known
    cpu_time_s: tuple[float, ...] = ()  # of each vcpu
    memory_mib: int = 0
    memory_rss_mib: int = 0
    disks: tuple[
        dict[str, int | str], ...
    ] = ()  # device, read_bytes, read_requests, write_bytes, write_requests, errors
    nics: tuple[dict[str, int | str], ...] = ()  # mac, rx_octets, rx_packets, rx_drop, rx_errors, and tx_ of each
    guest_agent: bool = False  # it answers

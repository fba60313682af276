"""Options of the libvirt virt driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["LibvirtSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtSettings:
    GROUP: ClassVar[str] = "libvirt"

    uri: str = setting(
        "qemu:///system", "Where libvirtd listens. Change it only when libvirtd is not this machine's usual one."
    )
    virt_type: str = setting(
        "auto",
        "auto: kvm where a small guest proves that it works, else qemu (emulation). kvm: trust the operator, no proof. "
        "qemu: emulate always.",
        choices=("auto", "kvm", "qemu"),
    )
    cpu_mode: str = setting(
        "auto",
        "CPU of kvm guests. auto: host-passthrough where the proof of kvm passed, else QEMU's default model. "
        "host-model: when guests are to migrate between hosts that differ. none: QEMU's default model.",
        choices=("auto", "host-passthrough", "host-model", "none"),
    )
    machine: str = setting("pc", "QEMU machine of new guests. pc boots fastest; q35 has PCI Express.")
    images_dir: str = setting(
        "/var/lib/drover/images", "Cached images, shared by the guests of this host, as their disks' backing files."
    )
    instances_dir: str = setting(
        "/var/lib/drover/instances", "Disks, config drives and console logs of the guests, a folder each."
    )
    disk_cache: str = setting(
        "none",
        "Cache mode of guests' disks. writeback where the file system has no O_DIRECT; unsafe for throw-away tests.",
        choices=("none", "writeback", "writethrough", "directsync", "unsafe"),
    )
    vnc: bool = setting(True, "Give guests a VNC screen on the host's loopback interface.")
    anti_spoof: bool = setting(
        True, "Drop frames of guests that do not carry the MAC and IP of their port (nftables on the host)."
    )
    call_timeout_s: float = setting(30.0, "Seconds that libvirt has to answer a call.", minimum=0.5, maximum=600.0)
    start_timeout_s: float = setting(
        120.0, "Seconds that libvirt has to start or destroy a domain.", minimum=1.0, maximum=600.0
    )
    call_workers: int = setting(16, "Calls into libvirt at once.", minimum=2, maximum=128)
    call_spare: int = setting(
        32, "Calls that may hang in libvirt at once before new ones are refused.", minimum=1, maximum=1024
    )
    soft_reboot_timeout_s: float = setting(
        60.0, "Seconds a guest has to obey a soft reboot before its power is cycled.", minimum=0.0, maximum=600.0
    )

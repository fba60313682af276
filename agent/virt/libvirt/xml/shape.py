"""How this host wants its domains: what is the same for every guest."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """From the settings and the probe; see :class:`drover.conf.libvirt.LibvirtSettings`."""

    machine: str = "pc"
    cpu_mode: str = ""  # for kvm: "" = QEMU's default model, or host-passthrough, host-model
    disk_cache: str = "none"
    vnc: bool = True
    vnc_listen: str = "127.0.0.1"
    shared_cpus: tuple[int, ...] = ()  # where CPUs are dedicated, the others: for guests without; (): any
    cell_cpus: dict[int, tuple[int, ...]] = field(default_factory=dict)  # CPUs to share by cell, for guests in cells

"""Options of the fake virt driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["FakeSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeSettings:
    GROUP: ClassVar[str] = "fake"

    store_dir: str = setting("", "Where the fake guests live; empty: fake/ in the agent's state directory.")
    vcpus: int = setting(16, "vCPUs of the fake host.", minimum=1)
    memory_mib: int = setting(65536, "Memory of the fake host in MiB.", minimum=1)
    disk_gib: int = setting(1000, "Disk of the fake host in GiB.", minimum=0)
    latency_min_s: float = setting(0.0, "Least seconds that a call to the fake hypervisor takes.", minimum=0.0)
    latency_max_s: float = setting(
        0.0, "Most seconds that a call takes; raise both to see a slow hypervisor.", minimum=0.0, maximum=3600.0
    )
    image_latency_s: float = setting(0.0, "Seconds that the first fetch of an image takes.", minimum=0.0)
    shutdown_s: float = setting(0.0, "Seconds a guest takes to obey the power button.", minimum=0.0)
    copy_s: float = setting(0.0, "Seconds it takes to save a guest's memory or to copy its disk.", minimum=0.0)
    fail_rates: tuple[str, ...] = setting(
        (), "Chance of failure per method, as method=chance: define=0.1,start=0.05. Half fail after the effect."
    )
    boot_marker: str = setting("GUEST-READY", "Line that each boot writes to the console log.")
    numa_cells: int = setting(
        1, "NUMA cells of the fake host, which share its vCPUs and memory.", minimum=1, maximum=64
    )
    threads_per_core: int = setting(1, "Hardware threads of each core.", minimum=1, maximum=8)
    huge_pages: tuple[str, ...] = setting((), "Huge pages of each cell, as KiB=count: 2048=512,1048576=4.")
    pci_devices: tuple[str, ...] = setting(
        (), "PCI devices, as ADDRESS=VENDOR:PRODUCT@CELL: 0000:3b:00.0=10de:1db6@0. [agent] pci_devices offers them."
    )

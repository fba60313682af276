"""Options of the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["AgentSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    GROUP: ClassVar[str] = "agent"

    host: str = setting("", "Name of this host in the fleet; empty: the machine's host name.")
    state_dir: str = setting("/var/lib/drover/agent", "Journal, host identity and lock. One agent per directory.")
    driver: str = setting("libvirt", "Virt driver: an entry point of group drover.virt_drivers.")
    address: str = setting("", "Management address shown in host show; empty: the host name.")
    machine_id_file: str = setting(
        "/etc/machine-id", "Who this machine is; differs where labs run several hosts on one."
    )
    boot_id_file: str = setting("/proc/sys/kernel/random/boot_id", "New with every boot; likewise.")
    build_pool: int = setting(4, "Builds at once.", minimum=1, maximum=64)
    lifecycle_pool: int = setting(4, "Starts, stops, reboots and their like at once.", minimum=1, maximum=64)
    delete_pool: int = setting(4, "Deletes at once.", minimum=1, maximum=64)
    snapshot_pool: int = setting(
        2, "Snapshots and shelves at once; each copies a disk and sends it to the depot.", minimum=1, maximum=64
    )
    vcpus_ratio: float = setting(4.0, "Allocation ratio for vCPUs.", minimum=0.1, maximum=64.0)
    memory_ratio: float = setting(1.0, "Allocation ratio for memory.", minimum=0.1, maximum=16.0)
    disk_ratio: float = setting(
        1.0, "Allocation ratio for disk; overlays are thin, so labs may raise it.", minimum=0.1, maximum=64.0
    )
    reserved_vcpus: int = setting(0, "vCPUs kept for the host itself.", minimum=0)
    reserved_memory_mib: int = setting(512, "Memory in MiB kept for the host itself.", minimum=0)
    reserved_disk_gib: int = setting(0, "Disk in GiB kept for the host itself.", minimum=0)
    total_vcpus: int = setting(
        0, "Report this many vCPUs instead of the machine's (labs that share one machine); 0: the machine's.", minimum=0
    )
    total_memory_mib: int = setting(0, "Report this much memory instead of the machine's; 0: the machine's.", minimum=0)
    total_disk_gib: int = setting(0, "Report this much disk instead of the machine's; 0: the machine's.", minimum=0)
    cpu_dedicated_set: str = setting(
        "",
        "CPUs given out one by one to guests with hw:cpu_policy=dedicated, as 4-15,^8; other guests stay off them, "
        "those defined before at their next hard reboot. Leave some for the host itself.",
    )
    pci_devices: tuple[str, ...] = setting(
        (),
        "PCI devices that guests may get whole, as VENDOR:PRODUCT (10de:1db6, 10de:*) or address (0000:3b:00.1). "
        "They need an IOMMU; flavors ask for them by [scheduler] pci_aliases.",
    )
    numa: bool = setting(
        False,
        "Offer this host's NUMA cells to guests with hw:numa_nodes. Hosts with dedicated CPUs or huge pages do so anyway.",
    )

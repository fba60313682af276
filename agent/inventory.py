"""What the host offers to the fleet: what its driver found, with the site's reservations, ratios and overrides."""

from __future__ import annotations

from dataclasses import replace

from agent.hardware import GivenOut
from drover.conf.agent import AgentSettings
from drover.objects.hardware import Hardware
from drover.objects.host import Inventory, Resources

__all__ = ["offered"]


def offered(found: Inventory, settings: AgentSettings) -> Inventory:
    """*found* as the conductor gets it. A total of 0 in the settings leaves the machine's own.

    CPUs for dedicated use are no part of the vCPUs, which share the others, and huge pages no part of the memory.

    :raises errors.InvalidConfig: a setting is not what it should be.
    """
    hardware = GivenOut.of(settings).of_found(found.hardware)
    return replace(
        found,
        vcpus=settings.total_vcpus or found.vcpus - sum(len(cell.cpus) for cell in hardware.cells),
        memory_mib=settings.total_memory_mib or found.memory_mib - _huge_mib(hardware),
        disk_gib=settings.total_disk_gib or found.disk_gib,
        reserved=Resources(
            vcpus=settings.reserved_vcpus,
            memory_mib=settings.reserved_memory_mib,
            disk_gib=settings.reserved_disk_gib,
        ),
        vcpus_ratio=settings.vcpus_ratio,
        memory_ratio=settings.memory_ratio,
        disk_ratio=settings.disk_ratio,
        hardware=hardware,
    )


def _huge_mib(hardware: Hardware) -> int:
    return sum(size * count for cell in hardware.cells for size, count in cell.pages.items()) // 1024

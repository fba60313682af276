"""What the host offers to the fleet: what its driver found, with the site's reservations, ratios and overrides."""

from __future__ import annotations

from dataclasses import replace

from drover.conf.agent import AgentSettings
from drover.objects.host import Inventory, Resources

__all__ = ["offered"]


def offered(found: Inventory, settings: AgentSettings) -> Inventory:
    """*found* as the conductor gets it. A total of 0 in the settings leaves the machine's own."""
    return replace(
        found,
        vcpus=settings.total_vcpus or found.vcpus,
        memory_mib=settings.total_memory_mib or found.memory_mib,
        disk_gib=settings.total_disk_gib or found.disk_gib,
        reserved=Resources(
            vcpus=settings.reserved_vcpus,
            memory_mib=settings.reserved_memory_mib,
            disk_gib=settings.reserved_disk_gib,
        ),
        vcpus_ratio=settings.vcpus_ratio,
        memory_ratio=settings.memory_ratio,
        disk_ratio=settings.disk_ratio,
    )

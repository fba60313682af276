"""Hosts with the wanted NUMA cells, dedicated CPUs, huge pages and PCI devices.

One filter for all of them, because they must fit together; :func:`drover.hardware.fit` decides, as it does in the
claim.
"""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["HardwareFilter"]


class HardwareFilter:
    name = "hardware"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.hardware)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.hardware.fits(spec.hardware)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return table.hardware[place].misfit(spec.hardware)

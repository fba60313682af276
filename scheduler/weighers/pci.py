"""Hosts with fewer free PCI devices are better, for who asks for none and for who asks alike (Nova's PCIWeigher).

Whoever needs none leaves hosts with devices to others, and whoever needs one leaves alone those with many.
"""

from __future__ import annotations

import numpy as np

from scheduler.host_table import FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["PciWeigher"]


class PciWeigher:
    name = "pci"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return "devices" in table.noted

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return 1.0 / (1.0 + table.devices.astype(np.float64))

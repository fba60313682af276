"""Hosts at fewer builds and other work on disks are better (Nova's IoOpsWeigher)."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import Count, FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["IoOperationsWeigher"]


class IoOperationsWeigher:
    """1 for none, 1/2 for one, 1/3 for two …: the first ones matter most."""

    name = "io_operations"
    needs_load = True

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return 1.0 / (1.0 + table.count(Count.IO_OPERATIONS).astype(np.float64))

"""Hosts on which no build failed of late are better (Nova's BuildFailureWeigher)."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["FailuresWeigher"]


class FailuresWeigher:
    """1 for none, 1/2 for one, 1/3 for two …"""

    name = "failures"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return "failures" in table.noted

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return 1.0 / (1.0 + table.failures.astype(np.float64))

"""Hosts with fewer members of the request's soft-anti-affinity group are better."""

from __future__ import annotations

import numpy as np

from drover.objects.group import GroupPolicy
from scheduler.host_table import Count, FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["SoftAntiAffinityWeigher"]


class SoftAntiAffinityWeigher:
    """1 for no member, 1/2 for one, 1/3 for two …"""

    name = "soft_anti_affinity"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return spec.group is not None and spec.group.policy is GroupPolicy.SOFT_ANTI_AFFINITY

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        if not self.applies(table, spec):
            return np.zeros(len(table), dtype=np.float64)
        return 1.0 / (1.0 + table.count(Count.MEMBERS).astype(np.float64))

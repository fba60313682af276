"""Hosts with more members of the request's soft-affinity group are better."""

from __future__ import annotations

import numpy as np

from drover.objects.group import GroupPolicy
from scheduler.host_table import Count, FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["SoftAffinityWeigher"]


class SoftAffinityWeigher:
    """0 for no member, 1/2 for one, 2/3 for two …: to be with any matters more than to be with many."""

    name = "soft_affinity"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return spec.group is not None and spec.group.policy is GroupPolicy.SOFT_AFFINITY

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        if not self.applies(table, spec):
            return np.zeros(len(table), dtype=np.float64)
        return 1.0 - 1.0 / (1.0 + table.count(Count.MEMBERS).astype(np.float64))

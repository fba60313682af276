"""Hosts with fewer members of an anti-affinity group than one host may have."""

from __future__ import annotations

import numpy as np

from drover.objects.group import GroupPolicy
from drover.units import counted
from scheduler.host_table import BoolArray, Count, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["AntiAffinityFilter"]


class AntiAffinityFilter:
    name = "anti_affinity"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return spec.group is not None and spec.group.policy is GroupPolicy.ANTI_AFFINITY

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        if spec.group is None or spec.group.policy is not GroupPolicy.ANTI_AFFINITY:
            return np.ones(len(table), dtype=np.bool_)
        fewer: BoolArray = np.less(table.count(Count.MEMBERS), spec.group.max_per_host)
        return fewer

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        if spec.group is None or spec.group.policy is not GroupPolicy.ANTI_AFFINITY:
            return ""
        here, most = int(table.count(Count.MEMBERS)[place]), spec.group.max_per_host
        return "" if here < most else f"{counted(here, 'member')} of its group here, {most} at most on one host"

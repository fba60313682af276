"""Hosts on which the wanted virt type works."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["VirtTypeFilter"]


class VirtTypeFilter:
    name = "virt_type"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.virt_type)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        if not spec.virt_type:
            return np.ones(len(table), dtype=np.bool_)
        return table.virt_types.having(spec.virt_type)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        offered = table.virt_types[place]
        if not spec.virt_type or spec.virt_type in offered:
            return ""
        return f"virt type {spec.virt_type} wanted, {', '.join(sorted(offered)) or 'none'} offered"

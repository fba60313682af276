"""Hosts of the image's architecture."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["ArchitectureFilter"]


class ArchitectureFilter:
    name = "architecture"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.architecture)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        if not spec.architecture:
            return np.ones(len(table), dtype=np.bool_)
        return table.architecture.having(spec.architecture)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        offered = table.architecture[place]
        if not spec.architecture or spec.architecture in offered:
            return ""
        return f"architecture {spec.architecture} wanted, {', '.join(sorted(offered))} offered"

"""No host, when flavor and image contradict each other: an image may get other properties while its instances live."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["FlavorFilter"]


class FlavorFilter:
    name = "flavor"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.contradiction)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return np.full(len(table), not spec.contradiction)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        return spec.contradiction

"""Hosts with more free memory are better."""

from __future__ import annotations

from scheduler.host_table import FloatArray, HostTable, Resource
from scheduler.spec import PlacementSpec

__all__ = ["FreeMemoryWeigher"]


class FreeMemoryWeigher:
    name = "free_memory"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return table.share_free(Resource.MEMORY_MIB)

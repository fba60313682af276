"""Enough free memory."""

from __future__ import annotations

from scheduler.filters.room import RoomFilter
from scheduler.host_table import Resource
from scheduler.spec import PlacementSpec

__all__ = ["MemoryFilter"]


class MemoryFilter(RoomFilter):
    name = "memory"
    resource = Resource.MEMORY_MIB
    unit = "MiB of memory"

    def ask(self, spec: PlacementSpec) -> int:
        return spec.memory_mib

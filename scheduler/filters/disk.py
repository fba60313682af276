"""Enough free disk."""

from __future__ import annotations

from scheduler.filters.room import RoomFilter
from scheduler.host_table import Resource
from scheduler.spec import PlacementSpec

__all__ = ["DiskFilter"]


class DiskFilter(RoomFilter):
    name = "disk"
    resource = Resource.DISK_GIB
    unit = "GiB of disk"

    def ask(self, spec: PlacementSpec) -> int:
        return spec.disk_gib

"""Enough free vCPUs."""

from __future__ import annotations

from scheduler.filters.room import RoomFilter
from scheduler.host_table import Resource
from scheduler.spec import PlacementSpec

__all__ = ["VcpusFilter"]


class VcpusFilter(RoomFilter):
    name = "vcpus"
    resource = Resource.VCPUS
    unit = "vCPUs"

    def ask(self, spec: PlacementSpec) -> int:
        return spec.vcpus

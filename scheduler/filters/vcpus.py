"""Enough free vCPUs."""

from __future__ import annotations

from drover.units import counted
from scheduler.filters.room import RoomFilter
from scheduler.host_table import Resource
from scheduler.spec import PlacementSpec

__all__ = ["VcpusFilter"]


class VcpusFilter(RoomFilter):
    name = "vcpus"
    resource = Resource.VCPUS

    def ask(self, spec: PlacementSpec) -> int:
        return spec.vcpus

    def words(self, amount: int) -> str:
        return counted(amount, "vCPU")

"""Hosts whose CPUs really have less to do are better."""

from __future__ import annotations

from scheduler.host_table import FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["LoadWeigher"]


class LoadWeigher:
    name = "load"
    needs_load = True

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return 1.0 - table.cpu_load

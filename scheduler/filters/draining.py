"""Hosts that are not being emptied."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["DrainingFilter"]


class DrainingFilter:
    name = "draining"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return "draining" in table.noted

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:  # noqa: ARG002
        return ~table.draining

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        return "draining: its guests move away, it takes no others" if table.draining[place] else ""

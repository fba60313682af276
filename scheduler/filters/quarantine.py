"""Hosts that were not set aside for failing builds."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["QuarantineFilter"]


class QuarantineFilter:
    name = "quarantine"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return "quarantined" in table.noted

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:  # noqa: ARG002
        return ~table.quarantined

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        return f"in quarantine: {table.host(place).quarantine}" if table.quarantined[place] else ""

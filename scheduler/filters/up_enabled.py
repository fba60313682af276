"""Hosts that are enabled and answer."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["UpEnabledFilter"]


class UpEnabledFilter:
    name = "up_enabled"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:  # noqa: ARG002
        return table.enabled & table.up

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        if not table.enabled[place]:
            return f"disabled: {table.host(place).disabled_reason or 'no reason given'}"
        return "" if table.up[place] else "down: its agent does not answer"

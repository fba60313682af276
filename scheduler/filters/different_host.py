"""Hosts without the instances to be apart from (Nova's ``different_host`` hint)."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["DifferentHostFilter"]


class DifferentHostFilter:
    name = "different_host"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.not_hosts)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return ~table.is_among(spec.not_hosts)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return "an instance that it must be apart from is here" if table.name(place) in spec.not_hosts else ""

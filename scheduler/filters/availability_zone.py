"""Hosts of the wanted availability zone. Hosts that no aggregate gives a zone are in Nova's default one, ``nova``."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["AvailabilityZoneFilter"]


class AvailabilityZoneFilter:
    name = "availability_zone"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.availability_zone)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        wanted = spec.availability_zone
        return table.aggregates.where(lambda host: not wanted or wanted in host.zones)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        zones = table.aggregates[place].zones
        if not spec.availability_zone or spec.availability_zone in zones:
            return ""
        return f"availability zone {spec.availability_zone} wanted, this host is in {', '.join(sorted(zones))}"

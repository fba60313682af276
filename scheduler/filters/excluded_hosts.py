"""Hosts on which an earlier attempt of this operation did not fail."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["ExcludedHostsFilter"]


class ExcludedHostsFilter:
    name = "excluded_hosts"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.excluded_hosts)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return ~table.is_among(spec.excluded_hosts)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return "excluded: an earlier attempt failed there" if table.name(place) in spec.excluded_hosts else ""

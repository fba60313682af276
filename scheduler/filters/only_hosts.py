"""The host that was asked for by name, or those of the instances to be with (Nova's ``same_host`` hint)."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["OnlyHostsFilter"]


class OnlyHostsFilter:
    name = "only_hosts"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return spec.only_hosts is not None

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.is_among(table.rows if spec.only_hosts is None else spec.only_hosts)

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        if spec.only_hosts is None or table.name(place) in spec.only_hosts:
            return ""
        return f"not where it was asked to be: {', '.join(spec.only_hosts) or 'no host is left of those asked for'}"

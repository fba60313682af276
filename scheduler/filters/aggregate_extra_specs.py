"""Hosts whose aggregates say what the flavor's ``aggregate_instance_extra_specs:`` ask for.

Nova's AggregateInstanceExtraSpecsFilter, with its operators; unscoped keys of a flavor are not looked at.
"""

from __future__ import annotations

from scheduler.belonging import Belonging
from scheduler.comparison import matches
from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["AggregateExtraSpecsFilter"]


class AggregateExtraSpecsFilter:
    name = "aggregate_extra_specs"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.aggregate_specs)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.aggregates.where(lambda host: not _refusal(host, spec))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return _refusal(table.aggregates[place], spec)


def _refusal(host: Belonging, spec: PlacementSpec) -> str:
    for key, wanted in spec.aggregate_specs:
        offered = host.metadata.get(key, frozenset())
        if not any(matches(value, wanted) for value in offered):
            return f"aggregate metadata {key} {wanted} wanted, {', '.join(sorted(offered)) or 'none'} there"
    return ""

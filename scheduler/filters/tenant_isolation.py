"""Hosts that are not kept for other projects.

Nova's AggregateMultiTenancyIsolation: an aggregate with metadata ``filter_tenant_id`` (or ``filter_tenant_id2``,
``filter_tenant_idX`` …; a list with commas) is for those projects alone.  They may go elsewhere too.
"""

from __future__ import annotations

from scheduler.belonging import Belonging
from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["TenantIsolationFilter"]

_KEY = "filter_tenant_id"


class TenantIsolationFilter:
    name = "tenant_isolation"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return any(key.startswith(_KEY) for each in table.aggregates.values for key in each.metadata)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.aggregates.where(lambda host: not _refusal(host, spec))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return _refusal(table.aggregates[place], spec)


def _refusal(host: Belonging, spec: PlacementSpec) -> str:
    tenants = {tenant for key, values in host.metadata.items() if key.startswith(_KEY) for tenant in values}
    if not tenants or spec.project_id in tenants:
        return ""
    return f"kept for the projects {', '.join(sorted(tenants))}, this is {spec.project_id or 'none'}"

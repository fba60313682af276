"""Hosts on which an earlier attempt of this operation did not fail."""

from __future__ import annotations

import numpy as np

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["ExcludedHostsFilter"]


class ExcludedHostsFilter:
    name = "excluded_hosts"

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        passed = np.ones(len(table), dtype=np.bool_)
        for name in spec.excluded_hosts:
            passed &= ~table.is_host(name)
        return passed

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return "excluded: an earlier attempt failed there" if table.name(place) in spec.excluded_hosts else ""

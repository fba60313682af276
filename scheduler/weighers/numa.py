"""For guests with a NUMA topology fuller hosts are better: what is left whole serves those that need much."""

from __future__ import annotations

from scheduler.host_table import FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["NumaWeigher"]


class NumaWeigher:
    """The share of a host's dedicated CPUs that is taken; of its huge pages where it has no such CPUs."""

    name = "numa"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.hardware.cells)

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:  # noqa: ARG002
        return table.hardware.measured(lambda state: state.share_taken)

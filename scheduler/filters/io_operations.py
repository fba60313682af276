"""Hosts that are not busy with too many builds and other work on disks (Nova's IoOpsFilter)."""

from __future__ import annotations

from typing import Self

import numpy as np

from drover.conf.scheduler import SchedulerSettings
from scheduler.host_table import BoolArray, Count, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["IoOperationsFilter"]

#: metadata of an aggregate that goes before the setting
_KEY = "max_io_ops_per_host"


class IoOperationsFilter:
    """What hosts reported, and each placement since then in the same batch."""

    name = "io_operations"
    needs_load = True

    def __init__(self, most: int) -> None:
        self._most = most

    @classmethod
    def from_settings(cls, settings: SchedulerSettings) -> Self:
        return cls(settings.max_io_ops_per_host)

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:  # noqa: ARG002
        fewer: BoolArray = np.less(table.count(Count.IO_OPERATIONS), table.aggregates.numbers(_KEY, self._most))
        return fewer

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        under_way = int(table.count(Count.IO_OPERATIONS)[place])
        most = table.aggregates[place].number(_KEY, self._most)
        return "" if under_way < most else f"{under_way} I/O operations under way, {most:g} at most"

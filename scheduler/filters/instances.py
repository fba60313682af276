"""Hosts with fewer instances than one host may have (Nova's NumInstancesFilter)."""

from __future__ import annotations

from typing import Self

import numpy as np

from drover.conf.scheduler import SchedulerSettings
from scheduler.host_table import BoolArray, Count, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["InstancesFilter"]

#: metadata of an aggregate that goes before the setting
_KEY = "max_instances_per_host"


class InstancesFilter:
    """A rule of taste, as in Nova: a claim does not check it, so that schedulers that race may pass it by a few."""

    name = "instances"
    needs_instances = True

    def __init__(self, most: int) -> None:
        self._most = most

    @classmethod
    def from_settings(cls, settings: SchedulerSettings) -> Self:
        return cls(settings.max_instances_per_host)

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return True

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:  # noqa: ARG002
        fewer: BoolArray = np.less(table.count(Count.INSTANCES), table.aggregates.numbers(_KEY, self._most))
        return fewer

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:  # noqa: ARG002
        there = int(table.count(Count.INSTANCES)[place])
        most = table.aggregates[place].number(_KEY, self._most)
        return "" if there < most else f"{there} instances there, {most:g} at most"

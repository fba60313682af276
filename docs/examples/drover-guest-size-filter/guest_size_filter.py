"""Hosts for small guests only: aggregate metadata ``max_guest_vcpus`` is the most vCPUs of one guest there."""

from __future__ import annotations

import math

import numpy as np

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["GuestSizeFilter"]

KEY = "max_guest_vcpus"


class GuestSizeFilter:
    name = "guest_size"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return table.aggregates.speak_of((KEY,))

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        small_enough: BoolArray = np.greater_equal(table.aggregates.numbers(KEY, math.inf), spec.vcpus)
        return small_enough if small_enough.shape else np.full(len(table), bool(small_enough))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        most = table.aggregates[place].number(KEY, math.inf)
        return "" if spec.vcpus <= most else f"{spec.vcpus} vCPUs wanted, guests of {most:g} at most here"

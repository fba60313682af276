"""The host where the other members of an affinity group are; any host for the first of them."""

from __future__ import annotations

import numpy as np

from drover.objects.group import GroupPolicy
from drover.units import counted
from scheduler.host_table import BoolArray, Count, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["AffinityFilter"]


class AffinityFilter:
    """While a member moves it stands on two hosts: then no host has them all, and none takes another."""

    name = "affinity"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return _placed(spec) > 0

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        all_here: BoolArray = np.greater_equal(table.count(Count.MEMBERS), _placed(spec))
        return all_here

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        here, members = int(table.count(Count.MEMBERS)[place]), _placed(spec)
        if here >= members or spec.group is None:
            return ""
        hosts = ", ".join(host for host, _ in spec.group.hosts)
        return f"{counted(members, 'member')} of its group on {hosts}, {here or 'none'} of them here"


def _placed(spec: PlacementSpec) -> int:
    """Members that have a place already."""
    if spec.group is None or spec.group.policy is not GroupPolicy.AFFINITY:
        return 0
    return sum(count for _, count in spec.group.hosts)

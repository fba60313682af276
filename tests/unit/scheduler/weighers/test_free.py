from __future__ import annotations

import pytest

from scheduler.host_table import HostTable
from scheduler.plugin import Weigher
from scheduler.weighers.free_memory import FreeMemoryWeigher
from scheduler.weighers.free_vcpus import FreeVcpusWeigher
from tests.unit.scheduler.fleets import host, spec

FLEET = HostTable.build(
    [
        host("empty", total_vcpus=16, total_memory_mib=8192),
        host("half", total_vcpus=8, used_vcpus=4, total_memory_mib=8192, used_memory_mib=4096),
        host("overdrawn", total_vcpus=4, used_vcpus=6, total_memory_mib=1024, used_memory_mib=2048),
    ]
)


@pytest.mark.parametrize(
    ("subject", "weights"),
    [(FreeVcpusWeigher(), [1.0, 0.25, 0.0]), (FreeMemoryWeigher(), [1.0, 0.5, 0.0])],
)
def test_free_room_as_a_share_of_the_largest_host(subject: Weigher, weights: list[float]) -> None:
    assert subject.weigh(FLEET, spec()).tolist() == weights


def test_a_fleet_without_any_room_weighs_nothing() -> None:
    table = HostTable.build([host("a", total_vcpus=0, total_memory_mib=0)])
    assert FreeVcpusWeigher().weigh(table, spec()).tolist() == [0.0]

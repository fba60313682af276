"""Capacity is what would be placed, no more and no less."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from drover.db.host_table import HostRow
from drover.objects.selection import HostCapacity
from scheduler.capacity import capacity
from scheduler.decide import Limits, decide
from scheduler.host_table import HostTable
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, host, spec, specs

CHAIN = chain()
MOST = 200


@given(rows=fleets(), wanted=specs)
def test_it_counts_what_one_by_one_would_be_placed(rows: list[HostRow], wanted: PlacementSpec) -> None:
    table = HostTable.build(rows)
    found = capacity(table, wanted, CHAIN, MOST)
    placed = [choice.host for choice in decide(table, [wanted] * MOST, CHAIN, Limits()) if choice.host]
    assert found.count == len(placed)
    assert found.complete == (len(placed) < MOST)
    assert {each.host: each.count for each in found.hosts} == Counter(placed)
    assert sum(count for _, count in found.full) == (len(rows) if found.complete else 0)


def test_each_host_says_what_runs_out_first() -> None:
    rows = [
        host("few-cpus", total_vcpus=2),
        host("little-memory", total_memory_mib=3072),
        host("down", up=0),
        host("small-disk", total_disk_gib=10),
    ]
    found = capacity(HostTable.build(rows), spec(), CHAIN, MOST)
    assert (found.count, found.complete, found.roomy) == (6, True, 3)
    assert found.hosts == (
        HostCapacity(
            host="little-memory", count=3, refuser="memory", words="1024 MiB of memory wanted, 0 of 3072 free"
        ),
        HostCapacity(host="few-cpus", count=2, refuser="vcpus", words="1 vCPU wanted, 0 of 2 free"),
        HostCapacity(host="small-disk", count=1, refuser="disk", words="10 GiB of disk wanted, 0 of 10 free"),
    )
    assert found.full == (("up_enabled", 1), ("vcpus", 1), ("memory", 1), ("disk", 1))


def test_counting_ends_at_its_bound() -> None:
    found = capacity(HostTable.build([host("a"), host("b")]), spec(), CHAIN, 5)
    assert (found.count, found.complete, found.full) == (5, False, ())
    assert sorted(each.count for each in found.hosts) == [2, 3]


def test_an_empty_fleet_takes_nothing() -> None:
    found = capacity(HostTable.build([]), spec(), CHAIN, 5)
    assert (found.count, found.complete, found.hosts, found.full) == (0, True, (), ())

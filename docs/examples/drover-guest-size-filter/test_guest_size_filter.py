"""What every filter owes: it is found by its name, and mask and words say the same."""

from __future__ import annotations

import json

import pytest

from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from scheduler.decide import Limits, decide
from scheduler.host_table import HostTable
from scheduler.plugin import load_chain
from scheduler.spec import PlacementSpec

SETTINGS = SchedulerSettings(filters=(*SchedulerSettings().filters, "guest_size"))


def host(name: str, most: str = "") -> HostRow:
    metadata = {"max_guest_vcpus": most} if most else {}
    return HostRow(
        host=name,
        enabled=1,
        disabled_reason="",
        up=1,
        total_vcpus=64,
        total_memory_mib=65536,
        total_disk_gib=1000,
        used_vcpus=0,
        used_memory_mib=0,
        used_disk_gib=0,
        architecture="x86_64",
        virt_types='["kvm"]',
        traits="[]",
        aggregates=json.dumps([{"name": "small-guests", "metadata": metadata}]),
    )


FLEET = HostTable.build([host("any"), host("small", "4"), host("tiny", "1"), host("unread", "lots")])


@pytest.mark.parametrize(("vcpus", "allowed"), [(1, 4), (4, 3), (5, 2)])
def test_mask_and_words_say_the_same(vcpus: int, allowed: int) -> None:
    rule = load_chain(SETTINGS).filters[-1]
    wanted = PlacementSpec(vcpus=vcpus, memory_mib=1024, disk_gib=1)
    assert rule.name == "guest_size"
    assert rule.applies(FLEET, wanted)
    mask = rule.mask(FLEET, wanted).tolist()
    assert mask == [not rule.explain(FLEET, place, wanted) for place in range(len(FLEET))]
    assert sum(mask) == allowed


def test_a_decision_obeys_it_and_says_so() -> None:
    wanted = PlacementSpec(vcpus=8, memory_mib=1024, disk_gib=1)
    fleet = HostTable.build([host("small", "4"), host("tiny", "1")])
    (choice,) = decide(fleet, [wanted], load_chain(SETTINGS), Limits())
    assert choice.host == ""
    assert choice.report.refused[0] == ("small", "guest_size", "8 vCPUs wanted, guests of 4 at most here")


def test_without_such_metadata_it_is_not_asked() -> None:
    plain = HostTable.build([host("any")])
    wanted = PlacementSpec(vcpus=8, memory_mib=1024, disk_gib=1)
    rule = load_chain(SETTINGS).filters[-1]
    assert not rule.applies(plain, wanted)
    assert rule.mask(plain, wanted).tolist() == [True]

"""Decisions, held against a plain implementation that asks about one host and one request at a time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from drover.objects.group import GroupPolicy, HostAggregate
from drover.objects.hardware import DeviceAsk, Hardware, HardwareAsk, PciDevice
from drover.objects.host import HostUsage, Resources
from scheduler.decide import Choice, Limits, decide
from scheduler.host_table import FloatArray, HostTable, amounts
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import GPU, batches, chain, fleets, group, host, spec, usages
from tests.unit.scheduler.reference import World, place_all

SHIPPED = SchedulerSettings()
ALTERNATES = 2
LIMITS = Limits(alternates=ALTERNATES)


def answers(choices: list[Choice]) -> list[tuple[str, ...]]:
    return [(choice.host, *choice.alternates) if choice.host else () for choice in choices]


SPREAD = chain()
#: every rule that is shipped, and bounds that are soon reached
EVERY = {
    "filters": (*SHIPPED.filters, "io_operations", "instances"),
    "weighers": (*SHIPPED.weighers, "free_disk=0.5", "load=1.0", "io_operations=1.0", "image_cached=1.0"),
    "max_io_ops_per_host": 5,
    "max_instances_per_host": 3,
}
POLICIES = {
    "spread": SPREAD,
    "pack": chain(weighers=("free_memory=-1.0", "free_vcpus=-0.5")),
    "mixed": chain(weighers=("free_memory=1.0", "free_vcpus=-0.9", "soft_affinity=0.3", "soft_anti_affinity=-0.3")),
    "name": chain(weighers=()),
    "every": chain(**EVERY),
}


def world(rows: Iterable[HostRow], usage: Mapping[str, HostUsage] | None = None) -> World:
    return World({row.host: row for row in rows}, usage or {}, most_instances=3, most_io_operations=5)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@settings(max_examples=60)
@given(rows=fleets(least=2), requests=batches(), usage=usages)
@example(rows=[host("host0"), host("host1")], requests=[spec(vcpus=0, memory_mib=0, disk_gib=0)] * 70, usage={})
@example(
    rows=[host("host0", total_vcpus=90), host("host1", total_vcpus=93)],
    requests=[spec(memory_mib=0, disk_gib=0)] * 190,
    usage={},
)
def test_a_batch_is_placed_as_if_one_by_one(
    policy: Chain, rows: list[HostRow], requests: list[PlacementSpec], usage: dict[str, HostUsage]
) -> None:
    table = HostTable.build(rows).with_usage(usage)
    before = table.free.tolist(), table.counts.tolist()
    choices = answers(decide(table, requests, policy, LIMITS))
    assert choices == place_all(world(rows, usage), requests, policy, alternates=ALTERNATES)
    assert (table.free.tolist(), table.counts.tolist()) == before


@given(rows=fleets(least=2), requests=batches(), seed=st.integers(0, 9), subset=st.integers(1, 5))
def test_chance_among_the_best_is_the_same_one_by_one(
    rows: list[HostRow], requests: list[PlacementSpec], seed: int, subset: int
) -> None:
    limits = Limits(alternates=ALTERNATES, subset=subset, chance=random.Random(seed))
    plainly = place_all(world(rows), requests, SPREAD, alternates=ALTERNATES, subset=subset, chance=random.Random(seed))
    assert answers(decide(HostTable.build(rows), requests, SPREAD, limits)) == plainly


@given(rows=fleets(least=2), requests=batches())
def test_what_is_refused_fits_nowhere_and_what_is_placed_fits(
    rows: list[HostRow], requests: list[PlacementSpec]
) -> None:
    now = world(rows)
    on = {each.name for each in SPREAD.filters}
    for wanted, choice in zip(requests, decide(HostTable.build(rows), requests, SPREAD, LIMITS), strict=True):
        if choice.host:
            assert not on.intersection(now.refusals(choice.host, wanted))
            now.take(choice.host, wanted)
        else:
            assert all(on.intersection(now.refusals(row.host, wanted)) for row in rows)


@given(rows=fleets(least=2), requests=batches())
def test_no_host_gets_more_than_it_has(rows: list[HostRow], requests: list[PlacementSpec]) -> None:
    table = HostTable.build(rows)
    given_away = {row.host: amounts(Resources()) for row in rows}
    for wanted, choice in zip(requests, decide(table, requests, SPREAD, LIMITS), strict=True):
        if choice.host:
            given_away[choice.host] = given_away[choice.host] + amounts(wanted.resources)
    for name, amount in given_away.items():
        left = table.free[:, table.rows[name]] - amount
        assert all(amount[left < 0] == 0), name


def test_a_fleet_larger_than_the_batch_gives_exact_alternates() -> None:
    """More hosts than the decision looks at, many of them equal: the cut must not depend on luck."""
    rows = [host(f"h{number:03}", used_vcpus=number % 3) for number in range(200)]
    requests = [spec()] * 40 + [spec(vcpus=2)] * 3 + [spec()] * 9
    table = HostTable.build(rows)
    assert answers(decide(table, requests, SPREAD, LIMITS)) == place_all(
        world(rows), requests, SPREAD, alternates=ALTERNATES
    )


def test_of_equal_hosts_the_first_by_name_wins() -> None:
    table = HostTable.build([host("c"), host("b"), host("a")])
    assert [choice.host for choice in decide(table, [spec()] * 4, SPREAD, LIMITS)] == ["a", "b", "c", "a"]


def test_a_refusal_says_what_each_filter_left_and_why() -> None:
    table = HostTable.build([host("a", up=0), host("b", used_memory_mib=16000), host("c", total_vcpus=0)])
    (choice,) = decide(table, [spec()], SPREAD, LIMITS)
    assert choice.host == ""
    assert choice.alternates == ()
    assert choice.report.funnel == (
        ("all", 3),
        ("up_enabled", 2),
        ("vcpus", 1),
        ("memory", 0),
        ("disk", 0),
    )
    assert choice.report.refused == (
        ("a", "up_enabled", "down: its agent does not answer"),
        ("b", "memory", "1024 MiB of memory wanted, 384 of 16384 free"),
        ("c", "vcpus", "1 vCPU wanted, 0 of 0 free"),
    )


def test_no_hosts_at_all() -> None:
    (choice,) = decide(HostTable.build([]), [spec()], SPREAD, LIMITS)
    assert choice.host == ""
    assert choice.report.funnel[0] == ("all", 0)
    assert choice.report.refused == ()


def test_a_placement_tells_the_weights_of_the_best() -> None:
    table = HostTable.build([host("a"), host("b", used_memory_mib=8192), host("c", enabled=0)])
    (choice,) = decide(table, [spec()], chain(weighers=("free_memory=2.0", "free_vcpus=1.0")), LIMITS)
    assert choice.report.weights == (
        ("a", {"free_memory": 2.0, "free_vcpus": 1.0}, 3.0),
        ("b", {"free_memory": 1.0, "free_vcpus": 1.0}, 2.0),
    )
    assert choice.report.refused == (("c", "up_enabled", "disabled: no reason given"),)


def test_the_last_places_run_out_in_the_middle_of_equal_requests() -> None:
    table = HostTable.build([host("a", total_vcpus=2), host("b", total_vcpus=1)])
    choices = decide(table, [spec()] * 5, SPREAD, LIMITS)
    assert sorted(choice.host for choice in choices) == ["", "", "a", "a", "b"]
    assert [choice.host for choice in choices[3:]] == ["", ""]
    assert ("a", "vcpus", "1 vCPU wanted, 0 of 2 free") in choices[3].report.refused


def test_words_are_spent_on_as_many_hosts_as_asked_for() -> None:
    table = HostTable.build([host(f"h{number:02}", up=int(number == 0)) for number in range(30)])
    limits = Limits(explained=10, explained_beside=4, alternates=0)
    placed, refused = decide(table, [spec(), spec(vcpus=9)], SPREAD, limits)
    assert len(placed.report.refused) == 4
    assert placed.alternates == ()
    assert len(refused.report.refused) == 10


class Nonsense:
    """A site's weigher gone wrong."""

    name = "nonsense"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:
        return True

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        return np.full(len(table), np.nan)


def test_a_weighers_nonsense_places_all_the_same() -> None:
    policy = Chain(filters=SPREAD.filters, weighers=((Nonsense(), 1.0),))
    table = HostTable.build([host("a"), host("b")])
    assert [choice.host for choice in decide(table, [spec()] * 2, policy, LIMITS)] == ["a", "a"]


def chosen(table: HostTable, *requests: PlacementSpec) -> list[str]:
    return [choice.host for choice in decide(table, requests, SPREAD, LIMITS)]


def test_the_first_of_an_affinity_group_chooses_for_the_others() -> None:
    table = HostTable.build([host("a", used_vcpus=5), host("b", used_vcpus=6, used_memory_mib=8192)])
    together = spec(group=group(GroupPolicy.AFFINITY))
    assert chosen(table, *[together] * 5) == ["a", "a", "a", "", ""]
    assert chosen(table, together, spec(vcpus=2), together) == ["a", "a", ""]
    assert chosen(table, spec(group=group(GroupPolicy.AFFINITY, b=1))) == ["b"]


def test_an_anti_affinity_group_counts_what_the_batch_placed() -> None:
    table = HostTable.build([host(name) for name in "abc"])
    apart = group(GroupPolicy.ANTI_AFFINITY, most=2, b=1)
    placed = chosen(table, *[spec(group=apart)] * 3, *[spec(vcpus=2, group=apart)] * 4)
    assert sorted(placed) == ["", "", "a", "a", "b", "c", "c"]
    assert placed[-2:] == ["", ""]


def test_soft_groups_prefer_and_never_refuse() -> None:
    table = HostTable.build([host("a"), host("b", total_vcpus=3, used_vcpus=1)])
    assert chosen(table, *[spec(group=group(GroupPolicy.SOFT_AFFINITY, b=1))] * 3) == ["b", "b", "a"]
    assert sorted(chosen(table, *[spec(group=group(GroupPolicy.SOFT_ANTI_AFFINITY))] * 3)) == ["a", "a", "b"]


def test_a_device_is_given_away_once() -> None:
    device = PciDevice(address="0000:3b:00.0", vendor_id=GPU[0], product_id=GPU[1])
    table = HostTable.build([host("a", hardware=Hardware(devices=(device,))), host("b")])
    wanted = spec(hardware=HardwareAsk(devices=(DeviceAsk(alias="gpu", count=1, ids=(GPU,)),)))
    first, second = decide(table, [wanted] * 2, SPREAD, LIMITS)
    assert (first.host, second.host) == ("a", "")
    assert ("a", "hardware", "PCI devices gpu: 1 wanted, 0 of 1 free") in second.report.refused
    assert chosen(table, spec()) == ["b"]


def test_the_members_that_others_see_are_those_of_their_own_group() -> None:
    table = HostTable.build([host("a"), host("b", used_memory_mib=8192)])
    one, other = (spec(group=group(policy)) for policy in (GroupPolicy.AFFINITY, GroupPolicy.ANTI_AFFINITY))
    assert chosen(table, one, other, one, other, other) == ["a", "a", "a", "b", ""]


def test_an_aggregates_multiplier_goes_before_the_settings() -> None:
    packed = HostAggregate(name="packed", metadata={"free_memory_weight_multiplier": "-5"})
    table = HostTable.build([host("a", aggregates=(packed,)), host("b", used_memory_mib=8192)])
    (choice,) = decide(table, [spec()], SPREAD, LIMITS)
    assert [(name, each["free_memory"]) for name, each, _ in choice.report.weights] == [("b", 0.5), ("a", -5.0)]

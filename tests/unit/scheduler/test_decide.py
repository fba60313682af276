"""Decisions, held against a plain implementation that asks about one host and one request at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drover.db.host_table import HostRow
from scheduler.decide import Choice, Limits, decide
from scheduler.host_table import FloatArray, HostTable, amounts
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, host, spec, specs

ALTERNATES = 2
LIMITS = Limits(alternates=ALTERNATES)


def plainly(table: HostTable, requests: list[PlacementSpec], policy: Chain) -> list[tuple[str, ...]]:
    """(host, alternates …) of each request, () when no host may take it."""
    free = table.free.copy()
    answers: list[tuple[str, ...]] = []
    for wanted in requests:
        now = table.with_free(free)
        ranked = []
        for place in range(len(table)):
            if all(not each.explain(now, place, wanted) for each in policy.filters):
                weight = sum(m * float(each.weigh(now, wanted)[place]) for each, m in policy.weighers)
                ranked.append((-weight, place))
        best = [place for _, place in sorted(ranked)[: ALTERNATES + 1]]
        if best:
            free[:, best[0]] -= amounts(wanted.resources)
        answers.append(tuple(table.name(place) for place in best))
    return answers


def answers(choices: list[Choice]) -> list[tuple[str, ...]]:
    return [(choice.host, *choice.alternates) if choice.host else () for choice in choices]


#: runs of equal requests, as one create call with a count makes them
batches = st.lists(st.tuples(specs, st.integers(1, 12)), max_size=4).map(
    lambda runs: [wanted for wanted, count in runs for _ in range(count)]
)
SPREAD = chain()
POLICIES = {
    "spread": SPREAD,
    "pack": chain(weighers=("free_memory=-1.0", "free_vcpus=-0.5")),
    "mixed": chain(weighers=("free_memory=1.0", "free_vcpus=-0.9")),
    "name": chain(weighers=()),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@settings(deadline=None, max_examples=60)
@given(rows=fleets(), requests=batches)
@example(rows=[host("host0"), host("host1")], requests=[spec(vcpus=0, memory_mib=0, disk_gib=0)] * 70)
@example(
    rows=[host("host0", total_vcpus=90), host("host1", total_vcpus=93)],
    requests=[spec(memory_mib=0, disk_gib=0)] * 190,
)
def test_a_batch_is_placed_as_if_one_by_one(policy: Chain, rows: list[HostRow], requests: list[PlacementSpec]) -> None:
    table = HostTable.build(rows)
    before = table.free.tolist()
    assert answers(decide(table, requests, policy, LIMITS)) == plainly(table, requests, policy)
    assert table.free.tolist() == before


@settings(deadline=None)
@given(rows=fleets(), requests=batches)
def test_no_host_gets_more_than_it_has(rows: list[HostRow], requests: list[PlacementSpec]) -> None:
    table = HostTable.build(rows)
    given_away = dict.fromkeys(table.names, amounts(spec(vcpus=0, memory_mib=0, disk_gib=0).resources))
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
    assert answers(decide(table, requests, SPREAD, LIMITS)) == plainly(table, requests, SPREAD)


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
        ("excluded_hosts", 2),
        ("virt_type", 2),
        ("architecture", 2),
        ("vcpus", 1),
        ("memory", 0),
        ("disk", 0),
    )
    assert choice.report.refused == (
        ("a", "up_enabled", "down: its agent does not answer"),
        ("b", "memory", "1024 MiB of memory wanted, 384 of 16384 free"),
        ("c", "vcpus", "1 vCPUs wanted, 0 of 0 free"),
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
    assert ("a", "vcpus", "1 vCPUs wanted, 0 of 2 free") in choices[3].report.refused


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

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        return np.full(len(table), np.nan)


def test_a_weighers_nonsense_places_all_the_same() -> None:
    policy = Chain(filters=SPREAD.filters, weighers=((Nonsense(), 1.0),))
    table = HostTable.build([host("a"), host("b")])
    assert [choice.host for choice in decide(table, [spec()] * 2, policy, LIMITS)] == ["a", "a"]

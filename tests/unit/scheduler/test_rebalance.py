"""Plans that even out, move by move, within every rule."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from drover.objects.group import GroupPolicy
from drover.objects.hardware import CellAsk, HardwareAsk
from drover.objects.selection import RebalancePlan
from scheduler.host_table import HostTable, amounts
from scheduler.rebalance import Guest, rebalance
from scheduler.spec import GroupRule, PlacementSpec
from tests.unit.scheduler.fleets import chain, host, spec

CHAIN = chain()


def guest(name: str, at: str, **wishes: object) -> Guest:
    return Guest(uuid=f"u-{name}", name=name, host=at, spec=spec(**wishes))


def loaded(rows: dict[str, dict[str, int]], guests: list[Guest]) -> HostTable:
    """Hosts with these facts on which exactly *guests* run."""
    for facts in rows.values():
        facts.update(dict.fromkeys(("used_vcpus", "used_memory_mib", "used_disk_gib"), 0))
    for each in guests:
        asks = each.spec.resources
        facts = rows[each.host]
        facts["used_vcpus"] += asks.vcpus
        facts["used_memory_mib"] += asks.memory_mib
        facts["used_disk_gib"] += asks.disk_gib
    return HostTable.build([host(name, **facts) for name, facts in rows.items()])


def shown(plan: RebalancePlan) -> list[tuple[str, str, str]]:
    return [(move.instance_name, move.source, move.destination) for move in plan.moves]


def test_one_move_that_evens_out_is_the_whole_plan() -> None:
    guests = [guest("big", "a", vcpus=4), guest("small", "a", vcpus=2), guest("other", "a", vcpus=2)]
    plan = rebalance(loaded({"a": {}, "b": {}}, guests), guests, CHAIN, 10)
    assert shown(plan) == [("big", "a", "b")]
    assert plan.complete
    assert plan.moves[0].why == "vCPUs: a 100% → 50%, b 0% → 50%"
    assert (plan.spread_before, plan.spread_after) == (plan.moves[0].spread_before, plan.moves[0].spread_after)


def test_an_even_fleet_needs_no_move() -> None:
    guests = [guest("one", "a"), guest("two", "b")]
    plan = rebalance(loaded({"a": {}, "b": {}}, guests), guests, CHAIN, 10)
    assert (plan.moves, plan.complete, plan.hosts) == ((), True, 2)


def test_the_bound_on_moves_is_kept() -> None:
    guests = [guest(f"g{n}", "a") for n in range(8)]
    plan = rebalance(loaded({"a": {}, "b": {}, "c": {}}, guests), guests, CHAIN, 2)
    assert len(plan.moves) == 2
    assert not plan.complete


def test_a_host_that_is_down_or_disabled_neither_gives_nor_takes() -> None:
    guests = [guest(f"g{n}", "a") for n in range(4)] + [guest(f"d{n}", "down") for n in range(8)]
    table = loaded({"a": {}, "b": {}, "down": {"up": 0}, "off": {"enabled": 0}}, guests)
    plan = rebalance(table, guests, CHAIN, 10)
    assert plan.hosts == 2
    assert {(move.source, move.destination) for move in plan.moves} == {("a", "b")}


def test_no_move_breaks_a_filter() -> None:
    guests = [guest(f"g{n}", "a", virt_type="kvm") for n in range(8)]
    table = HostTable.build([host("a", used_vcpus=8), host("b", virt_types=("qemu",)), host("c", used_vcpus=3)])
    assert {move.destination for move in rebalance(table, guests, CHAIN, 10).moves} == {"c"}


def test_members_of_a_group_are_seen_where_the_plan_brings_them() -> None:
    """Both would go to the empty host; the second sees the first there."""
    members = (("a", 1), ("b", 1))
    rule = GroupRule(id="g", policy=GroupPolicy.ANTI_AFFINITY, hosts=members)
    guests = [guest("one", "a", vcpus=3, group=rule), guest("two", "b", vcpus=3, group=rule)]
    table = HostTable.build([host("a", used_vcpus=7), host("b", used_vcpus=7), host("c"), host("d", used_vcpus=6)])
    plan = rebalance(table, guests, CHAIN, 10)
    assert len([move for move in plan.moves if move.destination == "c"]) == 1


def test_the_only_member_of_an_affinity_group_may_move_and_two_may_not() -> None:
    alone = GroupRule(id="g", policy=GroupPolicy.AFFINITY)  # told without itself
    guests = [guest("one", "a", vcpus=4, group=alone), guest("fixed", "a", vcpus=4)]
    assert shown(rebalance(loaded({"a": {}, "b": {}}, guests), guests[:1], CHAIN, 5)) == [("one", "a", "b")]
    together = GroupRule(id="g", policy=GroupPolicy.AFFINITY, hosts=(("a", 1),))
    pair = [guest("one", "a", vcpus=4, group=together), guest("two", "a", vcpus=4, group=together)]
    assert rebalance(loaded({"a": {}, "b": {}}, pair), pair, CHAIN, 5).moves == ()


def test_guests_with_hardware_of_their_own_stay() -> None:
    pinned = HardwareAsk(cells=(CellAsk(vcpus=4, memory_mib=1024),), dedicated=True)
    guests = [guest("one", "a", vcpus=4, hardware=pinned), guest("two", "a", vcpus=4, hardware=pinned)]
    assert rebalance(loaded({"a": {}, "b": {}}, guests), guests, CHAIN, 5).moves == ()


def test_members_of_soft_groups_stay() -> None:
    rule = GroupRule(id="g", policy=GroupPolicy.SOFT_AFFINITY, hosts=(("a", 2),))
    guests = [guest("one", "a", vcpus=4, group=rule), guest("two", "a", vcpus=4, group=rule)]
    assert rebalance(loaded({"a": {}, "b": {}}, guests), guests, CHAIN, 10).moves == ()


#: how much each guest takes, and on which of four hosts it is
crowds = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from(("", "kvm"))), max_size=14)


@settings(max_examples=60)
@given(crowd=crowds, most=st.integers(0, 6))
def test_every_step_is_lawful_and_evens_out(crowd: list[tuple[int, int, str]], most: int) -> None:
    guests = [
        guest(f"g{number}", f"h{at}", vcpus=vcpus, memory_mib=512 * vcpus, virt_type=virt_type)
        for number, (at, vcpus, virt_type) in enumerate(crowd)
    ]
    table = loaded({"h0": {}, "h1": {}, "h2": {"total_vcpus": 4}, "h3": {}}, guests)
    plan = rebalance(table, guests, CHAIN, most)
    now = table.scratch()
    by_name = {each.name: each for each in guests}
    for move in plan.moves:
        wanted: PlacementSpec = by_name.pop(move.instance_name).spec  # each at most once
        place = table.rows[move.destination]
        assert [words for each in CHAIN.filters if (words := each.explain(now, place, wanted))] == []
        now.free[:, place] -= amounts(wanted.resources)
        now.free[:, table.rows[move.source]] += amounts(wanted.resources)
    spreads = [plan.spread_before, *(move.spread_after for move in plan.moves)]
    assert all(after < before for before, after in pairwise(spreads))
    assert plan.spread_after == spreads[-1]
    assert len(plan.moves) <= most

"""One host's side of a decision, then and now."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from hypothesis import given

from drover.db.host_table import HostRow
from drover.db.wish import Placed
from drover.hardware import fit
from drover.objects import codec
from drover.objects.group import GroupPolicy
from drover.objects.hardware import Cell, CellAsk, Hardware, HardwareAsk
from drover.objects.host import Resources
from drover.objects.operation import Decision
from drover.objects.selection import Then
from scheduler.decide import Limits, decide
from scheduler.explanation import explain, present
from scheduler.host_table import Beside, HostTable
from scheduler.refusal import Roster
from scheduler.spec import GroupRule, PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, host, spec, specs

CHAIN = chain()
NOW = datetime(2025, 11, 22, 13, 0, tzinfo=UTC)
FLEET = [host("a"), host("b", used_memory_mib=16000), host("c", up=0), host("d", used_memory_mib=8000)]


def decided(table: HostTable, wanted: PlacementSpec, explained: int = 1) -> Decision:
    """The kept decision about *wanted*, with words for so many hosts."""
    (choice,) = decide(table, [wanted], CHAIN, Limits(explained_beside=explained, explained=explained, weighed=1))
    report = choice.report
    return Decision(
        operation_id="o",
        attempt=1,
        chosen=choice.host,
        funnel=report.funnel,
        refused=report.refused,
        weights=report.weights,
        refusals=report.refusals,
        roster=Roster().checksum(table.rows),
        at=NOW,
    )


def then(rows: list[HostRow], name: str, decision: Decision) -> Then:
    (found,) = explain(HostTable.build(rows), name, spec(), CHAIN, [decision]).then
    return found


def test_then_is_words_where_they_were_kept_and_the_filter_everywhere() -> None:
    kept = decided(HostTable.build(FLEET), spec())
    found = {name: then(FLEET, name, kept) for name in "abcd"}
    assert {name: (each.outcome, each.refuser) for name, each in found.items()} == {
        "a": ("chosen", ""),
        "b": ("refused", "memory"),
        "c": ("refused", "up_enabled"),
        "d": ("passed", ""),
    }
    assert found["b"].words == "1024 MiB of memory wanted, 384 of 16384 free"
    assert found["c"].words == ""  # words were for one host only


def test_when_hosts_came_or_went_only_what_names_its_host_is_told() -> None:
    kept = decided(HostTable.build(FLEET), spec())
    fleet = [*FLEET, host("aa")]
    outcomes = {row.host: then(fleet, row.host, kept).outcome for row in fleet}
    assert outcomes == {"a": "chosen", "aa": "unknown", "b": "refused", "c": "unknown", "d": "unknown"}


def test_now_is_every_rule_with_its_numbers() -> None:
    found = explain(HostTable.build(FLEET), "b", spec(vcpus=9), CHAIN, [])
    assert {each.filter: each.words for each in found.verdicts if each.words} == {
        "vcpus": "9 vCPUs wanted, 8 of 8 free",
        "memory": "1024 MiB of memory wanted, 384 of 16384 free",
    }
    assert (found.passed, found.better, found.weights) == (0, 0, {})


def test_a_host_that_passes_is_compared_with_the_others() -> None:
    table = HostTable.build(FLEET)
    best, worse = (explain(table, name, spec(), CHAIN, []) for name in ("a", "d"))
    assert (best.passed, best.better, worse.better) == (2, 0, 1)
    assert best.total > worse.total == sum(worse.weights.values())


def test_what_the_instance_holds_does_not_stand_against_itself() -> None:
    rule = GroupRule(id="g", policy=GroupPolicy.ANTI_AFFINITY, hosts=(("b", 1), ("d", 1)))
    wanted = spec(memory_mib=4096, group=rule)
    table = HostTable.build(FLEET)
    held = [Placed(host="b", amount=Resources(vcpus=1, memory_mib=4096, disk_gib=10))]
    fleet, request = present(table, wanted, held)
    assert [each.words for each in explain(fleet, "b", request, CHAIN, []).verdicts if each.words] == []
    there = explain(fleet, "d", request, CHAIN, []).verdicts
    assert [each.filter for each in there if each.words] == ["anti_affinity"]
    assert table.free.tolist() == HostTable.build(FLEET).free.tolist()


def test_hardware_that_the_instance_has_is_free_for_itself() -> None:
    cell = Cell(id=0, cpus=(0, 1), cores=((0,), (1,)), memory_mib=4096)
    ask = HardwareAsk(cells=(CellAsk(vcpus=2, memory_mib=1024),), dedicated=True)
    claim = fit(Hardware(cells=(cell,)), (), ask)
    assert claim is not None
    mine = codec.to_json(claim)
    row = dataclasses.replace(host("a"), hardware=codec.to_json(Hardware(cells=(cell,))))
    table = HostTable.build([row], Beside(claims={"a": [mine]}))
    wanted = spec(vcpus=0, hardware=ask)
    assert [each.filter for each in explain(table, "a", wanted, CHAIN, []).verdicts if each.words] == ["hardware"]
    fleet, request = present(table, wanted, [Placed(host="a", amount=wanted.resources, hardware=mine)])
    assert [each.words for each in explain(fleet, "a", request, CHAIN, []).verdicts if each.words] == []


@given(rows=fleets(), wanted=specs)
def test_then_and_now_agree_while_nothing_changes(rows: list[HostRow], wanted: PlacementSpec) -> None:
    table = HostTable.build(rows)
    kept = dataclasses.replace(decided(table, wanted, explained=2), weights=())
    for row in rows:
        found = explain(table, row.host, wanted, CHAIN, [kept])
        first = next((each.filter for each in found.verdicts if each.words), "")
        assert found.then[0].refuser == first
        assert (found.then[0].outcome == "refused") == bool(first)

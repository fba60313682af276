"""Every host's first refusal in a byte: it says what the filters say one by one."""

from __future__ import annotations

from hypothesis import given

from drover.db.host_table import HostRow
from scheduler.decide import Limits, decide
from scheduler.host_table import HostTable
from scheduler.refusal import Roster, refuser, refusers, tally
from scheduler.spec import PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, host, spec, specs

CHAIN = chain()


@given(rows=fleets(), wanted=specs)
def test_bytes_name_the_first_filter_that_refuses_each_host(rows: list[HostRow], wanted: PlacementSpec) -> None:
    table = HostTable.build(rows)
    (choice,) = decide(table, [wanted], CHAIN, Limits())
    plainly = [
        next((each.name for each in CHAIN.filters if each.explain(table, place, wanted)), "")
        for place in range(len(table))
    ]
    report = choice.report
    assert [refuser(report.funnel, report.refusals, place) for place in range(len(table))] == plainly
    assert dict(tally(report.funnel, report.refusals)) == {
        name: plainly.count(name) for name in refusers(report.funnel)
    }


def test_only_filters_that_refused_count() -> None:
    funnel = (("all", 4), ("up", 3), ("zone", 3), ("memory", 1))
    assert refusers(funnel) == ("up", "memory")
    refusals = bytes((1, 2, 0, 1))
    assert [refuser(funnel, refusals, place) for place in range(4)] == ["memory", "", "up", "memory"]
    assert tally(funnel, refusals) == (("memory", 2), ("up", 1))


def test_a_roster_changes_with_its_names() -> None:
    roster = Roster()
    some = HostTable.build([host("b"), host("a")]).rows
    first = roster.checksum(some)
    assert first == roster.checksum(dict(some)) == Roster().checksum({"a": 0, "b": 1})
    assert len({first, roster.checksum({"a": 0, "c": 1}), roster.checksum({}), 0}) == 4


def test_equal_requests_share_their_bytes() -> None:
    first, second = decide(HostTable.build([host("a"), host("b", up=0)]), [spec()] * 2, CHAIN, Limits())
    assert first.report.refusals is second.report.refusals

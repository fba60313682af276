"""A fleet on file: it comes back as it was, and goes back to before what was asked of it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover import errors
from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from drover.db.wish import Placed
from drover.objects.group import GroupPolicy
from drover.objects.host import HostUsage, Resources
from scheduler.decide import Limits, decide
from scheduler.host_table import HostTable
from scheduler.snapshot import Head, HostLine, RequestLine, Snapshot, pack, replay, rewind, unpack
from scheduler.spec import GroupRule, PlacementSpec
from tests.unit.scheduler.fleets import chain, fleets, host, spec, specs

CHAIN = chain()
LIMITS = Limits()


def snapshot(hosts: list[HostLine], requests: list[RequestLine]) -> Snapshot:
    head = Head(
        taken_at=datetime(2025, 11, 22, tzinfo=UTC),
        version="1",
        settings=SchedulerSettings(name="s1", pci_aliases=("gpu=10de:20b0",)),
        hosts=len(hosts),
        requests=len(requests),
    )
    return Snapshot(head=head, hosts=tuple(hosts), requests=tuple(requests))


def after(rows: list[HostRow], wanted: list[PlacementSpec]) -> Snapshot:
    """What a snapshot shows once *wanted* were placed on an untouched fleet of *rows*."""
    lines, requests = {row.host: HostLine(row=row) for row in rows}, []
    for each, choice in zip(wanted, decide(HostTable.build(rows), wanted, CHAIN, LIMITS), strict=True):
        placed = Placed(host=choice.host, amount=each.resources, hardware="") if choice.host else None
        requests.append(RequestLine(spec=each, placed=placed))
        if placed is not None:
            lines[placed.host] = _with(lines[placed.host], placed.amount)
    return snapshot(list(lines.values()), requests)


def _with(line: HostLine, amount: Resources) -> HostLine:
    row = {name: getattr(line.row, name) for name in HostRow.__dataclass_fields__}
    for kind in ("vcpus", "memory_mib", "disk_gib"):
        row[f"used_{kind}"] += getattr(amount, kind)
    return HostLine(row=HostRow(**row), instances=line.instances + 1)


@given(rows=fleets(), wanted=st.lists(specs, max_size=12))
def test_it_replays_to_the_choices_that_were_made(rows: list[HostRow], wanted: list[PlacementSpec]) -> None:
    taken = unpack(pack(after(rows, wanted)))
    then = [request.placed.host if request.placed is not None else "" for request in taken.requests]
    assert [choice.host for choice in replay(taken, CHAIN, LIMITS)] == then


def test_nothing_is_lost_on_the_way() -> None:
    rule = GroupRule(id="g", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=2, hosts=(("a", 1),))
    line = HostLine(
        row=host("a", aggregates='[{"name":"x"}]'),
        instances=3,
        claims=('{"cells":[]}',),
        usage=HostUsage(images=("i",)),
    )
    wanted = spec(group=rule, only_hosts=("a",), aggregate_specs=(("disk", "ssd"),))
    whole = snapshot([line], [RequestLine(spec=wanted), RequestLine(spec=spec())])
    assert unpack(pack(whole)) == whole
    assert pack(whole) == pack(whole)


def test_rewound_groups_have_none_of_the_requests_among_their_members() -> None:
    """Of three members two were asked for in the log: only the third is there when it begins."""
    rule = GroupRule(id="g", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=2, hosts=(("a", 1), ("b", 2)))
    amount = spec().resources
    requests = [
        RequestLine(spec=spec(group=rule), placed=Placed(host=name, amount=amount, hardware="")) for name in "ab"
    ]
    table, wanted = rewind(
        snapshot([HostLine(row=host("a", used_vcpus=1)), HostLine(row=host("b", used_vcpus=2))], requests)
    )
    assert [each.group.hosts for each in wanted if each.group is not None] == [(("b", 1),)] * 2
    assert table.free[0].tolist() == [8, 7]


def test_rewound_hardware_is_free_again() -> None:
    mine, other = '{"devices":["0000:3b:00.1"]}', '{"devices":["0000:3b:00.2"]}'
    line = HostLine(row=host("a"), instances=2, claims=(mine, other))
    placed = Placed(host="a", amount=Resources(), hardware=mine)
    table, _ = rewind(snapshot([line], [RequestLine(spec=spec(), placed=placed)]))
    assert table.hardware[0].claims == (other,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b""),
        gzip.compress(b'{"format":"something else"}\n'),
        pack(snapshot([HostLine(row=host("a"))], []))[:-9],
        gzip.compress(gzip.decompress(pack(snapshot([HostLine(row=host("a"))], []))).splitlines(keepends=True)[0]),
    ],
    ids=["empty", "no gzip", "no line", "another kind", "cut", "a line short"],
)
def test_what_is_no_whole_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(errors.BadInput):
        unpack(data)

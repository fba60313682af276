"""Aggregates, groups and quarantine on each database, and changed at once on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from drover import errors
from drover.conf.times import TimeSettings
from drover.db import host as host_rows
from drover.db import host_table, quarantine, server_group
from drover.db.engine import Database
from drover.objects import codec
from drover.objects.group import Aggregate, AggregateChange, GroupPolicy, Hints, HostAggregate, ServerGroup
from drover.objects.host import Fence
from drover.objects.page import HostFilter, HostState
from drover.runtime.threads import ThreadRuntime
from drover.states import Action
from tests.contract.store.test_claim_race import THREADS, at_once
from tests.functional.conductor.conftest import CTX, Fleet

TIMES = TimeSettings(join_window_s=0.002, reap_interval_s=3600.0)
HOSTS = ("h1", "h2", "h3")
T0 = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def fleet(db: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    made = Fleet(db, runtime, TIMES)
    made.prepare()
    for name in HOSTS:
        made.agent(name)
    yield made
    made.close()


@pytest.fixture
def raced(pg: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    made = Fleet(pg, runtime, TIMES)
    made.prepare()
    for name in HOSTS:
        made.agent(name)
    yield made
    made.close()


def copied(fleet: Fleet, name: str) -> list[str]:
    """Names of a host's aggregates as the scheduler reads them."""
    with fleet.database.read() as conn:
        [row] = [row for row in host_table.read_all(conn).rows if row.host == name]
    return [each.name for each in codec.from_json(row.aggregates, tuple[HostAggregate, ...])]


def test_an_aggregate_comes_changes_and_goes(fleet: Fleet) -> None:
    it = fleet.api.aggregate_create(CTX, Aggregate(id="", name="a", metadata={"ssd": "true"}))
    with pytest.raises(errors.NameTaken):
        fleet.api.aggregate_create(CTX, Aggregate(id=it.id, name="other"))
    for name in HOSTS:
        fleet.api.aggregate_add_host(CTX, "a", name)
    after = fleet.api.aggregate_set(CTX, it.id, AggregateChange(availability_zone="az1"))
    assert after == fleet.api.aggregate_show(CTX, "a")
    assert (after.hosts, after.availability_zone, after.metadata) == (HOSTS, "az1", {"ssd": "true"})
    fleet.create("vm", networks=(), hints=Hints(availability_zone="az1"))
    for name in HOSTS:
        fleet.api.aggregate_remove_host(CTX, "a", name)
    assert copied(fleet, "h1") == []
    assert fleet.api.aggregate_delete(CTX, "a").name == "a"


def test_hosts_are_listed_by_what_they_are_in(fleet: Fleet) -> None:
    fleet.api.aggregate_create(CTX, Aggregate(id="", name="ssd"))
    fleet.api.aggregate_create(CTX, Aggregate(id="", name="east", availability_zone="az1"))
    fleet.api.aggregate_add_host(CTX, "ssd", "h1")
    fleet.api.aggregate_add_host(CTX, "ssd", "h2")
    fleet.api.aggregate_add_host(CTX, "east", "h2")
    fleet.api.host_set_enabled(CTX, "h1", enabled=False, reason="disk")
    fleet.api.host_set_draining(CTX, "h3", draining=True)
    with fleet.database.write() as conn:
        host_rows.fence(conn, "h3", Fence(reason="off", by="me", at=T0))
    expected = {
        HostFilter(): HOSTS,
        HostFilter(state=HostState.UP): ("h1", "h2"),
        HostFilter(state=HostState.DOWN): (),
        HostFilter(state=HostState.FENCED): ("h3",),
        HostFilter(state=HostState.DISABLED): ("h1",),
        HostFilter(state=HostState.DRAINING): ("h3",),
        HostFilter(state=HostState.QUARANTINE): (),
        HostFilter(aggregate="ssd"): ("h1", "h2"),
        HostFilter(availability_zone="az1"): ("h2",),
        HostFilter(aggregate="ssd", availability_zone="az1", state=HostState.UP): ("h2",),
        HostFilter(availability_zone="az2"): (),
        HostFilter(name="h"): HOSTS,
        HostFilter(name="H"): (),
        HostFilter(limit=2): ("h1", "h2"),
        HostFilter(limit=2, marker="h2"): ("h3",),
    }
    assert {query: tuple(it.name for it in fleet.api.host_list(CTX, query)) for query in expected} == expected


def test_a_group_comes_gets_members_and_goes(fleet: Fleet) -> None:
    group = fleet.api.group_create(CTX, ServerGroup(id="", name="g", policy=GroupPolicy.AFFINITY))
    with pytest.raises(errors.NameTaken):
        fleet.api.group_create(CTX, ServerGroup(id=group.id, name="other", policy=GroupPolicy.AFFINITY))
    reply = fleet.create("vm", count=2, networks=(), hints=Hints(group="g"))
    assert fleet.api.group_show(CTX, group.id).members == tuple(sorted(reply.instance_uuids))
    fleet.api.instance_action(CTX, reply.instance_uuids[0], Action.DELETE, {})
    assert fleet.api.group_show(CTX, group.id).members == reply.instance_uuids[1:]
    fleet.api.group_delete(CTX, "g")
    with pytest.raises(errors.StoreConflict), fleet.database.write() as conn:
        server_group.add_members(conn, group.id, reply.instance_uuids)


def test_failures_count_once_a_cause_and_go(fleet: Fleet) -> None:
    with fleet.database.write() as conn:
        for cause, at_s in (("a", 0.0), ("b", 10.0), ("a", 20.0)):
            quarantine.record(conn, "h1", cause, "DiskFull", T0 + timedelta(seconds=at_s))
        quarantine.record(conn, "gone", "c", "DiskFull", T0)
        aside = quarantine.Quarantine(host="h2", reason="so", since=T0, until=T0, rest_s=1.0)
        quarantine.keep(conn, "h2", aside, reason="shown", failures=3)
    with fleet.database.read() as conn:
        first, second = quarantine.suspects(conn)
        assert quarantine.hosts(conn) == len(HOSTS)
    assert (first.host, [each.at.second for each in first.failures]) == ("h1", [10, 20])
    assert (second.host, second.quarantine, second.reason, second.failures_shown) == ("h2", aside, "shown", 3)
    with fleet.database.write() as conn:
        quarantine.take_turn(conn)
        quarantine.sweep(conn, T0 + timedelta(seconds=15))
        quarantine.forget(conn, "h2")
        [left] = quarantine.suspects(conn)
        assert [each.at.second for each in left.failures] == [20]


def test_many_change_the_aggregates_of_one_host_at_once(raced: Fleet) -> None:
    """Each sees what those before it have written: the copy is the memberships, to the last one."""
    names = [f"a{number}" for number in range(THREADS)]
    for name in names:
        raced.api.aggregate_create(CTX, Aggregate(id="", name=name))

    def change(number: int) -> None:
        for host in HOSTS if number % 2 else reversed(HOSTS):
            raced.api.aggregate_add_host(CTX, names[number], host)
            raced.api.aggregate_set(CTX, names[number], AggregateChange(metadata={"by": str(number)}))

    at_once(change)
    for host in HOSTS:
        assert copied(raced, host) == sorted(names)


def test_a_host_is_in_one_zone_however_many_want_it(raced: Fleet) -> None:
    for number in range(THREADS):
        raced.api.aggregate_create(CTX, Aggregate(id="", name=f"a{number}", availability_zone=f"az{number}"))
    won: list[int] = []

    def want(number: int) -> None:
        try:
            raced.api.aggregate_add_host(CTX, f"a{number}", "h1")
        except errors.ZoneRefused:
            return
        won.append(number)

    at_once(want)
    [winner] = won
    assert copied(raced, "h1") == [f"a{winner}"]


def test_a_group_that_goes_while_members_come_has_all_of_them_or_none(raced: Fleet) -> None:
    raced.api.group_create(CTX, ServerGroup(id="", name="g", policy=GroupPolicy.ANTI_AFFINITY))
    made: list[str] = []

    def work(number: int) -> None:
        try:
            if number == 0:
                raced.api.group_delete(CTX, "g")
            else:
                made.extend(raced.create(f"vm{number}", networks=(), hints=Hints(group="g")).instance_uuids)
        except errors.ServerGroupNotFound:
            pass

    at_once(work)
    assert raced.api.group_list(CTX) == ()
    with raced.database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM instance").scalar_one() == len(made)
        assert conn.exec_driver_sql("SELECT count(*) FROM server_group_member").scalar_one() == 0

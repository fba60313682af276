"""Aggregates, zones, groups, and requests that name them."""

from __future__ import annotations

import pytest

from drover import errors
from drover.db import host_table
from drover.objects import codec
from drover.objects.group import Aggregate, AggregateChange, GroupPolicy, Hints, HostAggregate, ServerGroup
from drover.objects.instance import Instance
from drover.rpc.context import RequestContext
from drover.states import Action
from tests.functional.conductor.conftest import CTX, Fleet

OTHER = RequestContext(request_id="req-other", project_id="other")


def make(fleet: Fleet, name: str, zone: str = "", **metadata: str) -> Aggregate:
    return fleet.api.aggregate_create(CTX, Aggregate(id="", name=name, availability_zone=zone, metadata=metadata))


def seen(fleet: Fleet, name: str) -> tuple[HostAggregate, ...]:
    """What the scheduler reads of a host."""
    with fleet.database.read() as conn:
        rows = {row.host: row for row in host_table.read_all(conn).rows}
    return codec.from_json(rows[name].aggregates, tuple[HostAggregate, ...])


def guest(fleet: Fleet, host: str) -> str:
    reply = fleet.create("vm", networks=())
    fleet.place(reply, host)
    return reply.instance_uuids[0]


def created(fleet: Fleet, **hints: object) -> Instance:
    reply = fleet.create(f"i{fleet.runtime.uuid()[:8]}", networks=(), hints=Hints(**hints))  # type: ignore[arg-type]
    return fleet.api.instance_show(CTX, reply.instance_uuids[0])


def test_the_scheduler_reads_what_an_aggregate_is_with_the_change(fleet: Fleet) -> None:
    fleet.agent("h1")
    fleet.agent("h2")
    ssd = make(fleet, "ssd", ssd="true")
    with fleet.database.read() as conn:
        mark = host_table.read_all(conn).mark
    assert fleet.api.aggregate_add_host(CTX, "ssd", "h1").hosts == ("h1",)
    fleet.api.aggregate_add_host(CTX, "ssd", "h1")  # a repeat
    fleet.api.aggregate_add_host(CTX, make(fleet, "big").id, "h1")
    with fleet.database.read() as conn:
        assert "h1" in {row.host for row in host_table.read_changed(conn, mark).rows}
    assert seen(fleet, "h1") == (HostAggregate(name="big"), HostAggregate(name="ssd", metadata={"ssd": "true"}))
    assert seen(fleet, "h2") == ()
    fleet.api.aggregate_set(CTX, ssd.id, AggregateChange(availability_zone="az1", metadata={"n": "1"}, unset=("ssd",)))
    assert seen(fleet, "h1")[1] == HostAggregate(name="ssd", availability_zone="az1", metadata={"n": "1"})
    shown = fleet.api.host_show(CTX, "h1")
    assert (shown.aggregates, shown.availability_zone) == (("big", "ssd"), "az1")
    fleet.api.aggregate_remove_host(CTX, "ssd", "h1")
    assert seen(fleet, "h1") == (HostAggregate(name="big"),)
    assert [(it.name, it.hosts) for it in fleet.api.aggregate_list(CTX)] == [("big", ("h1",)), ("ssd", ())]


def test_an_aggregate_with_hosts_stays(fleet: Fleet) -> None:
    fleet.agent("h1")
    make(fleet, "ssd")
    fleet.api.aggregate_add_host(CTX, "ssd", "h1")
    with pytest.raises(errors.InUse, match="h1"):
        fleet.api.aggregate_delete(CTX, "ssd")
    fleet.api.aggregate_remove_host(CTX, "ssd", "h1")
    fleet.api.aggregate_delete(CTX, "ssd")
    with pytest.raises(errors.AggregateNotFound):
        fleet.api.aggregate_show(CTX, "ssd")


def test_a_host_is_in_one_zone_at_most(fleet: Fleet) -> None:
    fleet.agent("h1")
    make(fleet, "a", "az1")
    make(fleet, "b", "az2")
    make(fleet, "c", "az1")
    make(fleet, "d")
    for name in ("a", "c", "d"):
        fleet.api.aggregate_add_host(CTX, name, "h1")
    with pytest.raises(errors.ZoneRefused):
        fleet.api.aggregate_add_host(CTX, "b", "h1")
    with pytest.raises(errors.ZoneRefused):
        fleet.api.aggregate_set(CTX, "d", AggregateChange(availability_zone="az2"))
    with pytest.raises(errors.ZoneRefused):
        fleet.api.aggregate_set(CTX, "a", AggregateChange(availability_zone="az2"))
    assert fleet.api.host_show(CTX, "h1").availability_zone == "az1"


def test_a_host_with_guests_keeps_its_zone(fleet: Fleet) -> None:
    fleet.agent("h1")
    make(fleet, "a", "az1")
    make(fleet, "b", "az1")
    fleet.api.aggregate_add_host(CTX, "a", "h1")
    guest(fleet, "h1")
    fleet.api.aggregate_add_host(CTX, "b", "h1")
    fleet.api.aggregate_remove_host(CTX, "a", "h1")  # the other keeps it there
    with pytest.raises(errors.ZoneRefused, match="'az1' to 'nova': it has 1 guest,"):
        fleet.api.aggregate_remove_host(CTX, "b", "h1")
    with pytest.raises(errors.ZoneRefused):
        fleet.api.aggregate_set(CTX, "b", AggregateChange(availability_zone=""))


def test_names_are_checked(fleet: Fleet) -> None:
    make(fleet, "a")
    with pytest.raises(errors.NameTaken):
        make(fleet, "a")
    with pytest.raises(errors.HostNotFound):
        fleet.api.aggregate_add_host(CTX, "a", "nowhere")
    with pytest.raises(errors.HostNotFound):
        fleet.api.aggregate_remove_host(CTX, "a", "nowhere")


def test_a_forgotten_host_is_in_no_aggregate(fleet: Fleet) -> None:
    fleet.agent("h1")
    make(fleet, "a", "az1")
    fleet.api.aggregate_add_host(CTX, "a", "h1")
    with fleet.database.write() as conn:  # as after a long silence
        conn.exec_driver_sql("UPDATE host_capacity SET up = 0")
    fleet.api.host_forget(CTX, "h1")
    assert fleet.api.aggregate_show(CTX, "a").hosts == ()
    fleet.agent("h1")
    assert fleet.api.host_show(CTX, "h1").aggregates == ()
    fleet.api.aggregate_delete(CTX, "a")


# --- groups ------------------------------------------------------------------------------------------------


def test_members_come_with_their_instances_and_go_with_them(fleet: Fleet) -> None:
    group = fleet.api.group_create(CTX, ServerGroup(id="", name="apart", policy=GroupPolicy.ANTI_AFFINITY))
    first, second = (created(fleet, group=ref) for ref in ("apart", group.id))
    assert first.hints.group == second.hints.group == group.id
    assert fleet.api.group_show(CTX, "apart").members == tuple(sorted((first.uuid, second.uuid)))
    fleet.api.instance_action(CTX, first.uuid, Action.DELETE, {})
    assert fleet.api.group_show(CTX, "apart").members == (second.uuid,)
    third = created(fleet, group="apart")
    assert fleet.api.group_list(CTX)[0].members == tuple(sorted((second.uuid, third.uuid)))


def test_a_group_with_members_may_go(fleet: Fleet) -> None:
    fleet.api.group_create(CTX, ServerGroup(id="", name="g", policy=GroupPolicy.AFFINITY))
    it = created(fleet, group="g")
    assert fleet.api.group_delete(CTX, "g").members == (it.uuid,)
    with pytest.raises(errors.ServerGroupNotFound):
        fleet.api.group_show(CTX, "g")
    assert fleet.api.instance_show(CTX, it.uuid).hints.group


def test_a_group_is_its_projects(fleet: Fleet) -> None:
    group = ServerGroup(id="", name="g", policy=GroupPolicy.SOFT_AFFINITY)
    mine, theirs = fleet.api.group_create(CTX, group), fleet.api.group_create(OTHER, group)
    assert mine.id != theirs.id
    with pytest.raises(errors.NameTaken):
        fleet.api.group_create(CTX, group)
    with pytest.raises(errors.ServerGroupNotFound):
        created(fleet, group=theirs.id)
    assert [it.id for it in fleet.api.group_list(OTHER)] == [theirs.id]


# --- requests ----------------------------------------------------------------------------------------------


def test_names_in_hints_become_ids(fleet: Fleet) -> None:
    fleet.agent("h1")
    make(fleet, "a", "az1")
    fleet.api.aggregate_add_host(CTX, "a", "h1")
    there = fleet.create("there", networks=())
    other = fleet.create("other", networks=())
    it = created(fleet, availability_zone="az1", host="h1", same_host=("there",), different_host=("other", "other"))
    assert it.hints == Hints(
        availability_zone="az1",
        host="h1",
        same_host=there.instance_uuids,
        different_host=other.instance_uuids,
    )


@pytest.mark.parametrize(
    ("hints", "code"),
    [
        ({"group": "no"}, "ServerGroupNotFound"),
        ({"availability_zone": "no"}, "AvailabilityZoneNotFound"),
        ({"availability_zone": "empty"}, "AvailabilityZoneNotFound"),
        ({"host": "no"}, "HostNotFound"),
        ({"same_host": ("no",)}, "InstanceNotFound"),
        ({"different_host": ("no",)}, "InstanceNotFound"),
        ({"same_host": ("there",), "different_host": ("there",)}, "InvalidHints"),
        ({"host": "h1", "availability_zone": "az2"}, "InvalidHints"),
    ],
)
def test_what_can_never_be_is_refused_and_nothing_written(fleet: Fleet, hints: dict[str, object], code: str) -> None:
    fleet.agent("h1")
    fleet.agent("h2")
    make(fleet, "none", "empty")
    make(fleet, "b", "az2")
    fleet.api.aggregate_add_host(CTX, "b", "h2")
    fleet.create("there", networks=())
    with pytest.raises(errors.DroverError) as caught:
        created(fleet, **hints)
    assert caught.value.code == code
    with fleet.database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM instance").scalar_one() == 1

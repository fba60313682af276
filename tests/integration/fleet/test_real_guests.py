"""Real libvirt and QEMU: what dies and comes back changes no running guest, and builds end well all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover.lab.spec import Driver
from drover.objects.instance import CreateReply
from drover.states import Action, OperationState
from tests import promise
from tests.fleet import QUICK, Fleet, fleet
from tests.moment import create_and_kill
from tests.promise import Guest

COUNT = 6
STUCK_AFTER_S = 45.0
PARTS = ["conductor", "scheduler", "relay", "host1.agent", "host1.libvirtd", "host1.virtlogd", "rabbitmq", "postgresql"]
BEGUN_ON = "SELECT id FROM operation WHERE unfinished = 1 AND state = 'running' AND host = %s"


@pytest.fixture(scope="module")
def real() -> Iterator[Fleet]:
    # Guests of a host that boots stay off here: what starts them again has tests of its own.
    settings = {**QUICK, "conductor": {**QUICK.get("conductor", {}), "resume_guests_state_on_host_boot": "false"}}
    with fleet(Driver.LIBVIRT, settings=settings) as made:
        yield made


@pytest.fixture(scope="module")
def bystanders(real: Fleet) -> list[Guest]:
    """Guests that nobody asks anything of, one on each host."""
    real.wait(real.create(3).operation_ids)
    found = promise.at_rest(real)
    assert sorted(guest.host for guest in found) == ["host1", "host2", "host3"]
    return found


@pytest.fixture(autouse=True)
def watch(real: Fleet, bystanders: list[Guest]) -> Iterator[None]:
    with promise.watched(real):
        yield


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("part", "moment"),
    [
        ("conductor", "begun"),
        pytest.param("scheduler", "asked", marks=LONG),  # what it does is seen on fake hosts as well
        pytest.param("relay", "placed", marks=LONG),
        pytest.param("host1.agent", "begun", marks=LONG),
        ("host1.agent", "permitted"),
        ("host1.libvirtd", "begun"),
        pytest.param("host1.libvirtd", "permitted", marks=LONG),
        pytest.param("host1.virtlogd", "begun", marks=LONG),
        ("rabbitmq", "permitted"),
        pytest.param("postgresql", "begun", marks=LONG),
    ],
)
def test_builds_end_well_though_a_part_was_killed(real: Fleet, bystanders: list[Guest], part: str, moment: str) -> None:
    built = create_and_kill(real, COUNT, part, moment)
    _free_what_libvirt_holds(real, part)
    found = promise.at_rest(real)
    _all_run(built, found)
    assert _without(built, found) == bystanders
    real.delete(built.instance_uuids)
    assert promise.at_rest(real) == bystanders


def _free_what_libvirt_holds(real: Fleet, part: str) -> None:
    """libvirt 9.0 that was killed while it created a domain may come back with that domain's lock held by nobody.

    Nothing it is asked of that domain works then, not even by virsh; the build went elsewhere, and what is left here
    is cleaned up once libvirtd is started anew.
    """
    if part == "host1.libvirtd" and not promise.settles(real, STUCK_AFTER_S):
        real.lab.restart(part)


def test_restarting_each_part_changes_no_running_guest(real: Fleet, bystanders: list[Guest]) -> None:
    for part in PARTS:
        real.lab.restart(part)
        assert promise.qemus(real) == [(guest.host, guest.uuid, guest.life) for guest in bystanders], part
    assert promise.at_rest(real) == bystanders


def test_a_host_that_is_away_gets_nothing_and_joins_again(real: Fleet, bystanders: list[Guest]) -> None:
    real.lab.cut("host3")
    try:
        built = real.create(COUNT)
        ended = real.wait(built.operation_ids)
        assert [op.state for op in ended] == [OperationState.SUCCEEDED] * COUNT, [op.error for op in ended]
        assert {op.host for op in ended} == {"host1", "host2"}
        assert {host for host, uuid, _ in promise.qemus(real) if uuid in built.instance_uuids} == {"host1", "host2"}
    finally:
        real.lab.heal("host3")
    real.until_row("SELECT host FROM host_capacity WHERE host = 'host3' AND up = 1")
    found = promise.at_rest(real)
    _all_run(built, found)
    assert _without(built, found) == bystanders
    real.delete(built.instance_uuids)


def test_a_host_cut_in_the_middle_of_builds_reports_when_it_is_back(real: Fleet, bystanders: list[Guest]) -> None:
    built = real.create(COUNT)
    real.until_row(BEGUN_ON, "host3")
    real.lab.cut("host3")
    try:
        real.until_row("SELECT host FROM host_capacity WHERE host = 'host3' AND up = 0")
    finally:
        real.lab.heal("host3")
    ended = real.wait(built.operation_ids)
    assert [op.state for op in ended] == [OperationState.SUCCEEDED] * COUNT, [op.error for op in ended]
    found = promise.at_rest(real)
    _all_run(built, found)
    assert _without(built, found) == bystanders
    real.delete(built.instance_uuids)


def test_delete_on_a_host_that_is_away_succeeds_and_the_host_cleans_up_later(
    real: Fleet, bystanders: list[Guest]
) -> None:
    built = real.create(3)
    real.wait(built.operation_ids)
    [there] = [guest for guest in promise.at_rest(real) if guest.uuid in built.instance_uuids and guest.host == "host3"]
    real.lab.cut("host3")
    try:
        [ended] = real.delete([there.uuid])
        assert ended.state is OperationState.SUCCEEDED, ended.error
        shown = real.drover("instance", "show", there.uuid)
        assert "pending on host3" in shown.stdout, shown
        assert (there.host, there.uuid, there.life) in promise.qemus(real)
        assert real.rows("SELECT state FROM allocation WHERE instance_uuid = %s", there.uuid) == [("leaving",)]
        assert len(real.rows("SELECT ip FROM port WHERE instance_uuid = %s", there.uuid)) == 1
    finally:
        real.lab.heal("host3")
    assert there not in promise.at_rest(real)
    assert "pending" not in real.drover("instance", "show", there.uuid).stdout
    real.delete([uuid for uuid in built.instance_uuids if uuid != there.uuid])
    assert promise.at_rest(real) == bystanders


@pytest.mark.parametrize("boots", ["at once", "after it was given up"])
def test_a_host_that_crashes_in_the_middle_of_builds(real: Fleet, bystanders: list[Guest], boots: str) -> None:
    built = real.create(COUNT)
    real.until_row(BEGUN_ON, "host2")
    real.lab.crash("host2")
    if boots != "at once":
        real.until_row("SELECT host FROM host_capacity WHERE host = 'host2' AND up = 0")
    real.lab.boot("host2")
    ended = real.wait(built.operation_ids)
    assert [op.state for op in ended] == [OperationState.SUCCEEDED] * COUNT, [op.error for op in ended]
    [fallen] = [guest for guest in bystanders if guest.host == "host2"]
    real.until_row("SELECT uuid FROM instance WHERE uuid = %s AND vm_state = 'stopped'", fallen.uuid)
    _all_run(built, promise.at_rest(real))
    real.wait([real.act(fallen.uuid, Action.START).id])
    real.delete(built.instance_uuids)
    assert [(guest.host, guest.uuid) for guest in promise.at_rest(real) if guest.running] == [
        (guest.host, guest.uuid) for guest in bystanders
    ]


def test_nothing_is_left_in_the_end(real: Fleet, bystanders: list[Guest]) -> None:
    real.delete([guest.uuid for guest in bystanders])
    promise.empty(real)


def _all_run(built: CreateReply, found: list[Guest]) -> None:
    assert sorted(g.uuid for g in found if g.running and g.uuid in built.instance_uuids) == sorted(built.instance_uuids)


def _without(built: CreateReply, found: list[Guest]) -> list[Guest]:
    return [guest for guest in found if guest.uuid not in built.instance_uuids]

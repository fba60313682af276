"""What operations, guests and nobody yet ask of a host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update

from drover import errors
from drover.db import catalog, claim, image, wish
from drover.db.engine import Database
from drover.db.schema import allocation, instance, operation
from drover.db.waiting import waiting
from drover.db.wish import Placed
from drover.objects.catalog import Flavor, Image, ImageStatus
from drover.objects.group import GroupPolicy, Hints
from drover.objects.selection import SelectionRequest
from drover.states import Action
from tests.contract.store.claim_rows import ASK, NOW, add_builds, add_group, add_host, ask_for

SMALL = Flavor(id="f-small", name="small", vcpus=1, memory_mib=512, disk_gib=2, created_at=NOW)
DEBIAN = Image(
    id="image",
    name="debian",
    status=ImageStatus.ACTIVE,
    virt_type="kvm",
    min_disk_gib=3,
    properties={"trait:HW_CPU_X86_AVX2": "required"},
)


@pytest.fixture(autouse=True)
def fleet(db: Database) -> None:
    """Two hosts; ``o1`` and ``o2`` of a group have a place on them, ``o3`` waits for one."""
    with db.write() as conn:
        catalog.put_flavor(conn, SMALL)
        image.add(conn, DEBIAN, NOW)
    add_host(db, "a")
    add_host(db, "b")
    group = add_group(db, "g1", GroupPolicy.ANTI_AFFINITY)
    add_builds(db, ["o1", "o2", "o3"], hints=Hints(group="g1"))
    with db.write() as conn:
        claim.claim(conn, [ask_for("o1", "a", group=group), ask_for("o2", "b", group=group)], NOW)


def change(db: Database, table: Any, **values: Any) -> None:
    with db.write() as conn:
        conn.execute(update(table).values(**values))


def test_an_operation_asks_the_same_whatever_its_state(db: Database) -> None:
    with db.read() as conn:
        (waits,) = waiting(conn, ["o3"])
        assert wish.of_operation(conn, "o3") == waits
        placed = wish.of_operation(conn, "o1")
        with pytest.raises(errors.OperationNotFound):
            wish.of_operation(conn, "o9")
    assert (waits.virt_type, waits.min_disk_gib, waits.image_properties) == ("kvm", 3, DEBIAN.properties)
    assert waits.group_hosts == (("a", 1), ("b", 1))
    same = replace(placed, operation_id="o3", instance_uuid="i-o3", instance_name="n-o3")
    assert same == waits


def test_what_an_instance_holds_is_by_host_and_without_what_leaves(db: Database) -> None:
    with db.read() as conn:
        assert wish.placements_of(conn, "i-o1") == [Placed(host="a", amount=ASK)]
        assert wish.placements_of(conn, "i-o3") == []
    change(db, allocation, state="leaving")
    with db.read() as conn:
        assert wish.placements_of(conn, "i-o1") == []


def test_the_newest_requests_come_with_what_they_were_given(db: Database) -> None:
    with db.read() as conn:
        found = wish.recent(conn, [Action.BUILD], 10)
        newest = wish.recent(conn, [Action.BUILD], 2)
        assert wish.recent(conn, [Action.DELETE], 10) == []
    assert [placed for _, placed in found] == [Placed(host="a", amount=ASK), Placed(host="b", amount=ASK), None]
    assert [wanted.operation_id for wanted, _ in found] == ["o1", "o2", "o3"]
    assert newest == found[1:]


def test_guests_at_rest_of_the_hosts_that_are_asked_for(db: Database) -> None:
    change(db, allocation, state="active")
    change(db, instance, vm_state="active")
    with db.read() as conn:
        assert wish.of_guests(conn, ["a", "b"]) == []  # their builds are unfinished
    change(db, operation, unfinished=None, state="succeeded")
    with db.read() as conn:
        assert [(host, wanted.instance_uuid) for host, wanted in wish.of_guests(conn, ["a", "b"])] == [
            ("a", "i-o1"),
            ("b", "i-o2"),
        ]
        ((_, guest),) = wish.of_guests(conn, ["b"])
    assert (guest.instance_name, guest.flavor.memory_mib, guest.virt_type) == ("n-o2", 512, "kvm")
    assert guest.group_hosts == (("a", 1), ("b", 1))
    change(db, instance, vm_state="rescued")
    with db.read() as conn:
        assert wish.of_guests(conn, ["a", "b"]) == []


def test_a_request_of_nobody_is_read_by_names(db: Database) -> None:
    hints = Hints(group="g1", same_host=("n-o1",), different_host=("i-o2",), availability_zone="z", host="a")
    with db.read() as conn:
        wanted = wish.of_request(conn, "default", SelectionRequest(flavor="small", image="debian", hints=hints))
        plain = wish.of_request(conn, "default", SelectionRequest(flavor="small"))
        with pytest.raises(errors.ServerGroupNotFound):
            wish.of_request(conn, "another", SelectionRequest(flavor="small", hints=Hints(group="g1")))
    assert (wanted.flavor.name, wanted.image_id, wanted.virt_type) == ("small", "image", "kvm")
    assert wanted.group is not None
    assert wanted.group_hosts == (("a", 1), ("b", 1))
    assert (wanted.same_hosts, wanted.different_hosts) == (("a",), ("b",))
    assert (wanted.hints.availability_zone, wanted.hints.host) == ("z", "a")
    assert (plain.architecture, plain.virt_type, plain.group, plain.image_properties) == ("", "", None, {})


def test_an_operation_whose_instance_is_purged_asks_nothing_any_more(db: Database) -> None:
    with db.write() as conn:
        conn.execute(delete(instance).where(instance.c.uuid == "i-o3"))
    with db.read() as conn, pytest.raises(errors.OperationNotFound):
        wish.of_operation(conn, "o3")

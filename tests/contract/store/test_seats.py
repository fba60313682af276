"""Seats of server groups and pieces of hardware, as an audit counts them: from the rows, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from drover.db import claim, server_group
from drover.db.audit import CHECKS, look
from drover.db.audit_hardware import HardwareHeld, read_held
from drover.db.engine import Database
from drover.db.schema import allocation
from drover.objects import codec
from drover.objects.group import GroupPolicy
from drover.objects.hardware import Cell, CellAsk, CellClaim, Hardware, HardwareAsk, HardwareClaim
from tests.contract.store.claim_rows import NOW, add_builds, add_group, add_host, ask_for

OFFER = Hardware(cells=(Cell(id=0, cpus=(2, 3), cores=((2,), (3,)), memory_mib=1024),))
PINNED = HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=256),), dedicated=True)


def broken(db: Database) -> dict[str, dict[str, Any]]:
    """The one finding of each check of groups."""
    found: dict[str, dict[str, Any]] = {}
    for check in CHECKS:
        if check.code.endswith("AffinityBroken"):
            with db.read() as conn:
                rows, more = look(conn, check, NOW, owner_lease_s=15.0)
            assert not more
            found.update((check.code, dict(row)) for row in rows)
    return found


def move(db: Database, operation_id: str, host: str) -> None:
    """What no claim would write."""
    with db.write() as conn:
        of = allocation.c.instance_uuid == f"i-{operation_id}"
        conn.execute(update(allocation).where(of).values(host=host, group_slot=None))


def members(db: Database, policy: GroupPolicy, hosts: dict[str, str], most: int = 1) -> None:
    """Members of a group, each claimed on its host."""
    group = add_group(db, "g", policy, max_per_host=most)
    for name in ("a", "b", "c"):
        add_host(db, name)
    add_builds(db, list(hosts))
    with db.write() as conn:
        server_group.add_members(conn, "g", [f"i-{each}" for each in hosts])
        claim.claim(conn, [ask_for(each, host, group=group) for each, host in hosts.items()], NOW)


def test_members_of_an_affinity_group_on_two_hosts_are_found(db: Database) -> None:
    members(db, GroupPolicy.AFFINITY, {"o1": "a", "o2": "a"})
    assert broken(db) == {}
    move(db, "o2", "b")
    row = broken(db)["AffinityBroken"]
    assert (row["name"], row["hosts"], row["first_host"], row["last_host"]) == ("g", 2, "a", "b")


def test_one_that_leaves_a_host_for_another_breaks_nothing(db: Database) -> None:
    members(db, GroupPolicy.AFFINITY, {"o1": "a"})
    with db.write() as conn:
        conn.execute(update(allocation).values(state="leaving", epoch=0))
    add_builds(db, ["o2"])
    with db.write() as conn:
        conn.execute(update(allocation).values(instance_uuid="i-o2"))
        server_group.add_members(conn, "g", ["i-o2"])
        group = server_group.get(conn, "default", "g")
        claim.claim(conn, [ask_for("o2", "b", group=group)], NOW)
    assert broken(db) == {}


@pytest.mark.parametrize("most", [1, 2])
def test_more_members_of_an_anti_affinity_group_than_a_host_may_have_are_found(db: Database, most: int) -> None:
    members(db, GroupPolicy.ANTI_AFFINITY, {"o1": "a", "o2": "b", "o3": "c"}, most)
    move(db, "o2", "a")
    assert bool(broken(db)) == (most == 1)
    move(db, "o3", "a")
    row = broken(db)["AntiAffinityBroken"]
    assert (row["host"], row["members"], row["max_per_host"]) == ("a", 3, most)


def test_groups_that_only_wish_are_never_broken(db: Database) -> None:
    members(db, GroupPolicy.SOFT_ANTI_AFFINITY, {"o1": "a", "o2": "a"})
    assert broken(db) == {}


def test_what_placements_hold_is_read_with_what_their_hosts_offer(db: Database) -> None:
    add_host(db, "plain")
    add_host(db, "whole", hardware=codec.to_json(OFFER))
    add_builds(db, ["o1", "o2"])
    with db.write() as conn:
        claim.claim(conn, [ask_for("o1", "whole", hardware=PINNED), ask_for("o2", "plain")], NOW)
    cell = CellClaim(cell=0, vcpus=1, memory_mib=256, cpus=(2,))
    with db.read() as conn:
        assert read_held(conn) == [
            HardwareHeld(host="whole", offer=OFFER, held=(("n-o1", HardwareClaim(cells=(cell,))),))
        ]

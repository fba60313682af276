"""Claims of members of server groups, on every database."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from drover import errors
from drover.clock import to_iso
from drover.db import claim, claim_write, operation, server_group
from drover.db.claim import Claim, ClaimState, Outcome
from drover.db.claim_write import Won
from drover.db.engine import Database
from drover.db.schema import allocation
from drover.db.schema import server_group as group_table
from drover.db.waiting import waiting
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.objects.host import Resources
from drover.states import PlacementState
from tests.contract.store.claim_rows import ASK, NOW, add_builds, add_group, add_host, ask_for, states, sums, used

AFFINITY, ANTI, SOFT = GroupPolicy.AFFINITY, GroupPolicy.ANTI_AFFINITY, GroupPolicy.SOFT_ANTI_AFFINITY


def make(db: Database, *claims: Claim) -> list[tuple[ClaimState, str]]:
    with db.write() as conn:
        return found(claim.claim(conn, claims, NOW))


def found(outcomes: list[Outcome]) -> list[tuple[ClaimState, str]]:
    return [(outcome.state, outcome.host) for outcome in outcomes]


def got(host: str) -> tuple[ClaimState, str]:
    return ClaimState.CLAIMED, host


LOST = (ClaimState.LOST, "")


def seats(db: Database) -> dict[str, tuple[str, str, int | None]]:
    a = allocation.c
    with db.read() as conn:
        rows = conn.execute(select(a.operation_id, a.host, a.group_id, a.group_slot).order_by(a.operation_id))
        return {row.operation_id: (row.host, row.group_id, row.group_slot) for row in rows}


def leave(db: Database, operation_id: str) -> None:
    a = allocation.c
    with db.write() as conn:
        conn.execute(
            update(allocation).where(a.operation_id == operation_id).values(state=PlacementState.LEAVING.value)
        )


def prepare(db: Database, policy: GroupPolicy, *, builds: int = 4, max_per_host: int = 1) -> ServerGroup:
    """Hosts a, b and c, a group, and builds o1, o2 …"""
    for name in ("a", "b", "c"):
        add_host(db, name)
    group = add_group(db, "g", policy, max_per_host=max_per_host)
    add_builds(db, [f"o{number}" for number in range(1, builds + 1)], hints=Hints(group="g"))
    return group


def test_members_stay_apart_in_one_batch_and_after_it(db: Database) -> None:
    group = prepare(db, ANTI)
    batch = [ask_for(each, "a", "b", group=group) for each in ("o1", "o2", "o3")]
    assert make(db, *batch) == [got("a"), got("b"), LOST]
    assert make(db, ask_for("o3", "a", "c", group=group)) == [got("c")]
    assert make(db, ask_for("o4", "a", "b", "c", group=group)) == [LOST]
    assert seats(db) == {"o1": ("a", "g", 0), "o2": ("b", "g", 0), "o3": ("c", "g", 0)}
    assert states(db)["o4"] == ("scheduling", "")
    assert used(db) == sums(db)


def test_the_first_free_slot_is_taken(db: Database) -> None:
    group = prepare(db, ANTI, max_per_host=2)
    assert make(db, *(ask_for(each, "a", group=group) for each in ("o1", "o2", "o3"))) == [got("a"), got("a"), LOST]
    with db.write() as conn:
        claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    assert make(db, ask_for("o3", "a", group=group)) == [got("a")]
    assert seats(db) == {"o2": ("a", "g", 1), "o3": ("a", "g", 0)}


def test_what_leaves_a_host_is_there_still(db: Database) -> None:
    group = prepare(db, ANTI)
    make(db, ask_for("o1", "a", group=group))
    leave(db, "o1")
    assert make(db, ask_for("o2", "a", group=group)) == [LOST]


def test_members_stay_together(db: Database) -> None:
    group = prepare(db, AFFINITY)
    assert make(db, ask_for("o1", "b", group=group), ask_for("o2", "a", "b", group=group)) == [got("b"), got("b")]
    assert make(db, ask_for("o3", "a", "c", group=group)) == [LOST]
    assert make(db, ask_for("o3", "a", "b", group=group)) == [got("b")]
    assert seats(db)["o3"] == ("b", "g", None)


def test_what_it_leaves_behind_does_not_bind_an_instance(db: Database) -> None:
    """A build that failed on a host is tried on another while the first cleans up."""
    group = prepare(db, AFFINITY)
    make(db, ask_for("o1", "a", group=group))
    leave(db, "o1")
    with db.write() as conn:
        claimed = operation.get(conn, "o1")
        assert claimed is not None
        operation.requeue(conn, claimed, exclude="a", owner="", until=NOW)
        conn.exec_driver_sql("UPDATE instance SET epoch = 2 WHERE uuid = 'i-o1'")
    assert make(db, ask_for("o1", "b", attempt=2, group=group)) == [got("b")]
    assert make(db, ask_for("o2", "b", group=group)) == [LOST], "the first one's remains are on a"


def test_a_soft_rule_refuses_nothing_and_is_written_down(db: Database) -> None:
    group = prepare(db, SOFT)
    assert make(db, *(ask_for(each, "a", group=group) for each in ("o1", "o2"))) == [got("a"), got("a")]
    assert seats(db) == {"o1": ("a", "g", None), "o2": ("a", "g", None)}


def test_a_group_that_was_deleted_binds_nobody(db: Database) -> None:
    group = prepare(db, ANTI)
    make(db, ask_for("o1", "a", group=group))
    with db.write() as conn:
        server_group.remove(conn, "g")
    assert make(db, ask_for("o2", "a", group=group)) == [got("a")]
    assert seats(db)["o2"] == ("a", "", None)


def test_a_group_without_room_on_its_host_is_not_spread(db: Database) -> None:
    group = prepare(db, AFFINITY)
    add_host(db, "small", places=1)
    batch = [ask_for(each, "small", "a", group=group) for each in ("o1", "o2")]
    assert make(db, *batch) == [got("small"), LOST]
    assert used(db)["a"] == Resources()


def test_groups_and_others_share_a_batch(db: Database) -> None:
    group = prepare(db, ANTI)
    other = add_group(db, "other", ANTI)
    batch = [
        ask_for("o1", "a", group=group),
        ask_for("o2", "a", group=other),
        ask_for("o3", "a"),
        ask_for("o4", "a", group=group),
    ]
    assert make(db, *batch) == [got("a"), got("a"), got("a"), LOST]
    assert used(db)["a"] == Resources(vcpus=3 * ASK.vcpus, memory_mib=3 * ASK.memory_mib, disk_gib=3 * ASK.disk_gib)


def test_a_claim_of_a_member_raises_the_generation_and_others_do_not(db: Database) -> None:
    group, soft = prepare(db, ANTI), add_group(db, "soft", SOFT)
    make(db, ask_for("o1", "a", group=group), ask_for("o2", "a", group=soft), ask_for("o3", "a"))
    g = group_table.c
    with db.read() as conn:
        assert conn.execute(select(g.id, g.generation).order_by(g.id)).all() == [("g", 1), ("soft", 0)]


def test_a_slot_that_is_taken_twice_is_an_error(db: Database) -> None:
    """The guard below the rule: a claim whose slot is not free must not pass for one that is there already."""
    group = prepare(db, ANTI)
    make(db, ask_for("o1", "a", group=group))
    twice = Won(
        operation_id="o2", attempt=1, instance_uuid="i-o2", host="a", epoch=1, vcpus=1, memory_mib=1, disk_gib=1,
        group_id="g", group_slot=0,
    )  # fmt: skip
    with pytest.raises(errors.StoreConflict), db.write() as conn:
        claim_write.write(conn, [twice], to_iso(NOW))
    assert states(db)["o2"] == ("scheduling", "")


def test_a_repeat_keeps_its_seat(db: Database) -> None:
    """The operation went back to scheduling without giving its place back."""
    group = prepare(db, ANTI)
    make(db, ask_for("o1", "a", group=group))
    with db.write() as conn:
        claimed = operation.get(conn, "o1")
        assert claimed is not None
        operation.requeue(conn, claimed, exclude="", owner="", until=NOW)
    assert make(db, ask_for("o1", "a", attempt=2, group=group)) == [got("a")]
    assert seats(db) == {"o1": ("a", "g", 0)}
    assert used(db) == sums(db)


def test_what_waits_knows_where_its_group_and_its_neighbours_are(db: Database) -> None:
    group = prepare(db, ANTI)
    add_builds(db, ["n1"], hints=Hints(group="g", same_host=("i-o1", "i-o2"), different_host=("i-o2", "i-none")))
    add_builds(db, ["n2"], hints=Hints(group="deleted", wait=True))
    add_builds(db, ["n3"])
    make(db, ask_for("o1", "a", group=group), ask_for("o2", "b", group=group))
    leave(db, "o2")
    with db.read() as conn:
        first, second, third = waiting(conn, ["n1", "n2", "n3"])
    assert first.group == group
    assert first.group_hosts == (("a", 1), ("b", 1))
    assert (first.same_hosts, first.different_hosts) == (("a",), ("b",))
    assert (second.group, second.hints) == (None, Hints(group="deleted", wait=True))
    assert (third.group, third.hints, third.group_hosts) == (None, Hints(), ())


@pytest.mark.parametrize(("policy", "counted"), [(ANTI, (("a", 1),)), (AFFINITY, ()), (SOFT, ())])
def test_ones_own_remains_count_against_anti_affinity_only(
    db: Database, policy: GroupPolicy, counted: tuple[tuple[str, int], ...]
) -> None:
    group = prepare(db, policy)
    make(db, ask_for("o1", "a", group=group))
    leave(db, "o1")
    with db.write() as conn:
        claimed = operation.get(conn, "o1")
        assert claimed is not None
        operation.requeue(conn, claimed, exclude="a", owner="", until=NOW)
    with db.read() as conn:
        (waits,) = waiting(conn, ["o1"])
    assert waits.group_hosts == counted

"""Claims and releases, on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from drover import errors
from drover.clock import to_iso
from drover.db import claim, operation
from drover.db.claim import Claim, ClaimState, Outcome
from drover.db.engine import Database
from drover.db.schema import allocation, host_capacity, image, instance
from drover.db.schema import operation as operation_table
from drover.db.waiting import Waiting, scheduling, together, waiting
from drover.objects.catalog import Flavor
from drover.objects.host import Resources
from drover.states import OperationState
from tests.contract.store.claim_rows import ASK, NOW, add_builds, add_host, ask_for, states, sums, used


def make(db: Database, *claims: Claim) -> list[Outcome]:
    with db.write() as conn:
        return claim.claim(conn, claims, NOW)


def found(outcomes: list[Outcome]) -> list[tuple[ClaimState, str]]:
    return [(outcome.state, outcome.host) for outcome in outcomes]


def times(amount: Resources, count: int) -> Resources:
    return Resources(vcpus=amount.vcpus * count, memory_mib=amount.memory_mib * count, disk_gib=amount.disk_gib * count)


def test_a_claim_dispatches_reserves_and_counts(db: Database) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"], attempt=2, epoch=3)
    assert make(db, ask_for("o1", "a", attempt=2)) == [Outcome(operation_id="o1", state=ClaimState.CLAIMED, host="a")]
    with db.read() as conn:
        op = operation.get(conn, "o1")
        placed = conn.execute(select(allocation)).one()._asdict()
        where = conn.execute(select(instance.c.host)).scalar_one()
    assert op is not None
    assert (op.state, op.host, op.dispatched_at, op.attempt) == (OperationState.DISPATCHED, "a", NOW, 2)
    assert where == "a"
    assert placed == {
        "instance_uuid": "i-o1",
        "host": "a",
        "epoch": 3,
        "state": "reserved",
        "operation_id": "o1",
        "vcpus": ASK.vcpus,
        "memory_mib": ASK.memory_mib,
        "disk_gib": ASK.disk_gib,
        "created_at": to_iso(NOW),
        "hardware": "",
        "group_id": "",
        "group_slot": None,
    }
    assert used(db) == {"a": ASK} == sums(db)


def test_a_repeat_finds_it_done(db: Database) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"])
    make(db, ask_for("o1", "a"))
    assert found(make(db, ask_for("o1", "a"))) == [(ClaimState.STALE, "")]
    assert used(db) == {"a": ASK}


@pytest.mark.parametrize(
    "stale",
    [ask_for("o1", "a", attempt=1), ask_for("o1", "a", attempt=3), ask_for("unknown", "a")],
    ids=["older attempt", "newer attempt", "no such operation"],
)
def test_a_stale_claim_has_no_effect(db: Database, stale: Claim) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"], attempt=2)
    assert found(make(db, stale)) == [(ClaimState.STALE, "")]
    assert used(db) == {"a": Resources()}
    assert states(db) == {"o1": ("scheduling", "")}


@pytest.mark.parametrize(
    "state", [OperationState.QUEUED, OperationState.RUNNING, OperationState.FAILED, OperationState.CANCELLED]
)
def test_only_what_waits_for_a_host_is_claimed(db: Database, state: OperationState) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"], state=state)
    assert found(make(db, ask_for("o1", "a"))) == [(ClaimState.STALE, "")]
    assert used(db) == {"a": Resources()}


def test_an_allocation_that_is_there_already_is_not_counted_twice(db: Database) -> None:
    """The operation went back to scheduling without a new epoch and without giving its place back."""
    add_host(db, "a")
    add_builds(db, ["o1"])
    make(db, ask_for("o1", "a"))
    with db.write() as conn:
        op = operation.get(conn, "o1")
        assert op is not None
        operation.requeue(conn, op, exclude="", owner="", until=NOW)
    assert found(make(db, ask_for("o1", "a", attempt=2))) == [(ClaimState.CLAIMED, "a")]
    assert used(db) == {"a": ASK} == sums(db)


def test_what_goes_elsewhere_holds_both_places_until_the_old_one_is_given_back(db: Database) -> None:
    add_host(db, "a", places=1)
    add_host(db, "b", places=1)
    add_builds(db, ["o1", "o2"])
    make(db, ask_for("o1", "a"))
    with db.write() as conn:
        op = operation.get(conn, "o1")
        assert op is not None
        operation.requeue(conn, op, exclude="a", owner="", until=NOW)
        conn.execute(update(instance).where(instance.c.uuid == "i-o1").values(epoch=2))
    assert found(make(db, ask_for("o1", "b", attempt=2))) == [(ClaimState.CLAIMED, "b")]
    assert used(db) == {"a": ASK, "b": ASK} == sums(db)
    assert found(make(db, ask_for("o2", "a", "b"))) == [(ClaimState.LOST, "")]
    with db.write() as conn:
        assert claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    assert found(make(db, ask_for("o2", "a", "b"))) == [(ClaimState.CLAIMED, "a")]
    assert used(db) == {"a": ASK, "b": ASK} == sums(db)


def test_the_last_place_goes_to_the_first_and_the_next_takes_its_alternate(db: Database) -> None:
    add_host(db, "a", places=1)
    add_host(db, "b", places=2)
    add_builds(db, ["o1", "o2", "o3", "o4"])
    outcomes = make(db, *(ask_for(each, "a", "b") for each in ("o1", "o2", "o3", "o4")))
    assert found(outcomes) == [
        (ClaimState.CLAIMED, "a"),
        (ClaimState.CLAIMED, "b"),
        (ClaimState.CLAIMED, "b"),
        (ClaimState.LOST, ""),
    ]
    assert [outcome.lost for outcome in outcomes] == [(), ("a",), ("a",), ("a", "b")]
    assert states(db)["o4"] == ("scheduling", "")
    assert used(db) == {"a": ASK, "b": times(ASK, 2)} == sums(db)


def test_a_batch_counts_each_host_once_with_all_it_got(db: Database) -> None:
    add_host(db, "a", places=10)
    add_host(db, "b", places=10)
    ids = [f"o{number}" for number in range(12)]
    add_builds(db, ids)
    outcomes = make(db, *(ask_for(each, "ab"[number % 2]) for number, each in enumerate(ids)))
    assert {outcome.state for outcome in outcomes} == {ClaimState.CLAIMED}
    assert used(db) == {"a": times(ASK, 6), "b": times(ASK, 6)} == sums(db)


@pytest.mark.parametrize(
    "facts",
    [
        {"enabled": 0},
        {"up": 0},
        {"draining": 1},
        {"quarantine": "3 builds failed there"},
        {"used_vcpus": 4},
        {"used_memory_mib": 1900},
        {"used_disk_gib": 7},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_a_host_that_changed_since_it_was_chosen_is_not_taken(db: Database, facts: dict[str, Any]) -> None:
    add_host(db, "a", **facts)
    add_builds(db, ["o1"])
    before = used(db)
    assert found(make(db, ask_for("o1", "a"))) == [(ClaimState.LOST, "")]
    assert used(db) == before
    assert states(db) == {"o1": ("scheduling", "")}


def test_one_claim_takes_a_host_on_probation_and_closes_it(db: Database) -> None:
    add_host(db, "a", places=3, probation="a build tries it now")
    add_host(db, "b", places=3)
    add_builds(db, ["o1", "o2", "o3", "o4", "o5"])
    assert found(make(db, *(ask_for(each, "a", "b") for each in ("o1", "o2", "o3")), ask_for("o4", "a"))) == [
        (ClaimState.CLAIMED, "a"),
        (ClaimState.CLAIMED, "b"),
        (ClaimState.CLAIMED, "b"),
        (ClaimState.LOST, ""),
    ]
    assert found(make(db, ask_for("o5", "a"))) == [(ClaimState.LOST, "")]
    with db.read() as conn:
        shown = {row.host: row.quarantine for row in conn.execute(select(host_capacity))}
    assert shown == {"a": "a build tries it now", "b": ""}
    assert used(db) == {"a": ASK, "b": times(ASK, 2)} == sums(db)


def test_an_overdrawn_resource_does_not_hinder_who_asks_nothing_of_it(db: Database) -> None:
    add_host(db, "a", used_disk_gib=99)
    add_builds(db, ["o1"])
    diskless = replace(ASK, disk_gib=0)
    assert found(make(db, ask_for("o1", "a", ask=diskless))) == [(ClaimState.CLAIMED, "a")]
    assert used(db)["a"] == replace(diskless, disk_gib=99)


def test_a_request_without_candidates_is_seen_to_wait_still(db: Database) -> None:
    add_builds(db, ["o1"])
    assert make(db, ask_for("o1"), ask_for("o2")) == [
        Outcome(operation_id="o1", state=ClaimState.LOST),
        Outcome(operation_id="o2", state=ClaimState.STALE),
    ]


def test_an_unknown_candidate_is_passed_over(db: Database) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"])
    assert found(make(db, ask_for("o1", "gone", "a"))) == [(ClaimState.CLAIMED, "a")]


def test_a_claim_that_is_rolled_back_leaves_nothing(db: Database) -> None:
    add_host(db, "a")
    add_builds(db, ["o1"])
    with pytest.raises(errors.StoreUnavailable), db.write() as conn:
        claim.claim(conn, [ask_for("o1", "a")], NOW)
        raise errors.StoreUnavailable(detail="killed")
    assert used(db) == {"a": Resources()} == sums(db)
    assert found(make(db, ask_for("o1", "a"))) == [(ClaimState.CLAIMED, "a")]


def test_a_release_lowers_exactly_once(db: Database) -> None:
    add_host(db, "a")
    add_builds(db, ["o1", "o2"])
    make(db, ask_for("o1", "a"), ask_for("o2", "a"))
    with db.write() as conn:
        assert claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
        assert not claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    with db.write() as conn:
        assert not claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
        assert not claim.release(conn, instance_uuid="i-o2", host="a", epoch=2)
    assert used(db) == {"a": ASK} == sums(db)


def test_many_are_released_together(db: Database) -> None:
    add_host(db, "a", places=2)
    add_host(db, "b", places=2)
    add_builds(db, ["o1", "o2", "o3", "o4"])
    make(db, *(ask_for(each, "a", "b") for each in ("o1", "o2", "o3", "o4")))
    keys = [("i-o1", "a", 1), ("i-o2", "a", 1), ("i-o3", "b", 1), ("i-o9", "b", 1), ("i-o1", "a", 1)]
    with db.write() as conn:
        assert claim.release_many(conn, keys) == {("i-o1", "a", 1), ("i-o2", "a", 1), ("i-o3", "b", 1)}
        assert claim.release_many(conn, []) == set()
    assert used(db) == {"a": Resources(), "b": ASK} == sums(db)


def test_a_released_place_can_be_claimed_again(db: Database) -> None:
    add_host(db, "a", places=1)
    add_builds(db, ["o1", "o2"])
    make(db, ask_for("o1", "a"))
    with db.write() as conn:
        claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    assert found(make(db, ask_for("o2", "a"))) == [(ClaimState.CLAIMED, "a")]


def test_what_waits_is_read_oldest_first_with_all_that_matters(db: Database) -> None:
    flavor = Flavor(id="f", name="f", vcpus=2, memory_mib=64, disk_gib=0, extra_specs={"virt_type": "kvm"})
    with db.write() as conn:
        conn.execute(
            image.insert().values(
                id="image", name="image", status="active", format="qcow2", size_bytes=1, virtual_size_bytes=5,
                sha256="", url="", architecture="aarch64", virt_type="qemu", min_memory_mib=0, min_disk_gib=3,
                created_at=to_iso(NOW), properties='{"hw_cpu_policy":"dedicated"}',
            )
        )  # fmt: skip
    add_builds(db, ["o2"], flavor=flavor, excluded_hosts=("a", "b"), attempt=4)
    add_builds(db, ["o1", "o3"])
    add_builds(db, ["done"], state=OperationState.RUNNING)
    with db.write() as conn:
        later = to_iso(NOW + timedelta(seconds=1))
        conn.execute(update(operation_table).where(operation_table.c.id == "o1").values(created_at=later))
    with db.read() as conn:
        waits = waiting(conn, ["o1", "o2", "done", "unknown"])
        assert scheduling(conn, 10) == ["o2", "o3", "o1"]
        assert scheduling(conn, 1) == ["o2"]
    assert [each.operation_id for each in waits] == ["o2", "o1"]
    assert waits[0] == Waiting(
        operation_id="o2",
        attempt=4,
        instance_uuid="i-o2",
        instance_name="n-o2",
        request_id="req-1",
        flavor=flavor,
        excluded_hosts=("a", "b"),
        architecture="aarch64",
        virt_type="qemu",
        min_disk_gib=3,
        virtual_size_bytes=5,
        project_id="default",
        image_id="image",
        image_properties={"hw_cpu_policy": "dedicated"},
    )


def test_an_instance_without_its_image_still_waits(db: Database) -> None:
    add_builds(db, ["o1"])
    with db.read() as conn:
        (waits,) = waiting(conn, ["o1"])
    assert (waits.architecture, waits.virt_type, waits.virtual_size_bytes) == ("", "", 0)


def test_those_of_one_request_are_found_by_any_of_them(db: Database) -> None:
    many = {"count": "3", "min_count": "2"}
    add_builds(db, ["a1", "a2", "a3"], params=many, request_id="req-a")
    add_builds(db, ["b1", "b2"], params={"count": "2", "min_count": "2"}, request_id="req-b")
    add_builds(db, ["b3"], params=many, request_id="req-b", state=OperationState.RUNNING)
    add_builds(db, ["c1"], params=many, request_id="req-c", attempt=2)
    add_builds(db, ["d1"])
    with db.read() as conn:
        first, *others = waiting(conn, ["a2", "b1", "b2", "c1", "d1"])
        assert (first.operation_id, first.count, first.min_count) == ("a2", 3, 2)
        assert [(each.operation_id, each.count, each.min_count) for each in others] == [
            ("b1", 2, 2),
            ("b2", 2, 2),
            ("c1", 1, 1),
            ("d1", 1, 1),
        ]
        assert together(conn, [first, *others]) == {"a1", "a2", "a3"}
        assert together(conn, others) == set()


def test_a_claim_stamps_the_hosts_it_changed(db: Database) -> None:
    add_host(db, "a")
    add_host(db, "b")
    add_builds(db, ["o1"])

    def stamps() -> dict[str, int]:
        with db.read() as conn:
            rows = conn.execute(select(host_capacity.c.host, host_capacity.c.change))
            return {row.host: row.change for row in rows}

    before = stamps()
    make(db, ask_for("o1", "a"))
    claimed = stamps()
    with db.write() as conn:
        claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    assert stamps()["a"] > claimed["a"] > before["a"]
    assert stamps()["b"] == before["b"]

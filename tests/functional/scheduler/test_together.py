"""Requests for several instances: one pass and one transaction, and as many as their minimum count says, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection, update

from drover.db import claim, decision
from drover.db.schema import operation
from scheduler.service import CLAIM
from tests.contract.store.claim_rows import NOW, add_builds, add_host, ask_for, states, sums, used
from tests.functional.scheduler.test_service import Flaky, Stage


class Counting:
    """How many passes there were."""

    def __init__(self) -> None:
        self.passes = 0

    def hit(self, point: str) -> None:
        self.passes += point == CLAIM


class Racing(Flaky):
    """A database where somebody else commits just before the next write."""

    rival: Callable[[Connection], object] | None = None

    def write(self) -> AbstractContextManager[Connection]:
        return self._after_the_rival()

    @contextmanager
    def _after_the_rival(self) -> Iterator[Connection]:
        rival, self.rival = self.rival, None
        if rival is not None:
            with super().write() as conn:
                rival(conn)
        with super().write() as conn:
            yield conn


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(Racing)
    yield made
    made.close()


def ask(stage: Stage, name: str, count: int, least: int) -> list[str]:
    ids = [f"{name}{number:04}" for number in range(count)]
    many = {"count": str(count), "min_count": str(least)}
    add_builds(stage.database, ids, params=many, request_id=f"req-{name}")
    return ids


def dispatched(stage: Stage) -> int:
    return sum(state == "dispatched" for state, _ in states(stage.database).values())


def words(stage: Stage, operation_id: str) -> str:
    with stage.database.read() as conn:
        return decision.of_operation(conn, operation_id)[-1].short


def test_a_thousand_are_one_pass_and_one_transaction_though_few_of_them_are_named(stage: Stage) -> None:
    for number in range(20):
        add_host(stage.database, f"h{number:02}", places=60)
    scheduler = stage.start()
    scheduler.points = counting = Counting()
    ids = ask(stage, "o", 1000, 1000)
    stage.nudge(*ids[:3])
    assert stage.ear.all_of("dispatched", 1000) == set(ids)
    assert counting.passes == 1
    assert used(stage.database) == sums(stage.database)
    assert {amount.vcpus for amount in used(stage.database).values()} == {50}
    with stage.database.read() as conn:
        chosen = {each.chosen for each in decision.latest(conn, ids).values()}
    assert chosen == set(used(stage.database))


def test_as_many_as_fit_when_they_are_enough(stage: Stage) -> None:
    add_host(stage.database, "a", places=7)
    ids = ask(stage, "o", 10, 5)
    stage.start()
    told = dict(stage.ear.next() for _ in range(2))
    assert (len(told["dispatched"]), len(told["unplaceable"])) == (7, 3)
    assert {words(stage, each) for each in ids} == {""}


def test_none_when_too_few_fit_and_those_after_them_get_the_room(stage: Stage) -> None:
    add_host(stage.database, "a", places=7)
    ids = ask(stage, "o", 10, 8)
    later = ask(stage, "p", 7, 7)
    with stage.database.write() as conn:
        conn.execute(update(operation).where(operation.c.id.in_(later)).values(created_at="2024-06-01T00:00:00Z"))
    stage.start()
    told = {method: set(each) for method, each in (stage.ear.next() for _ in range(2))}
    assert told == {"unplaceable": set(ids), "dispatched": set(later)}
    assert {words(stage, each) for each in ids} == {"7 of 10 fit, at least 8 were asked for"}


def test_a_lost_race_that_leaves_too_few_gives_all_of_them_back(stage: Stage) -> None:
    add_host(stage.database, "a", places=10)
    scheduler = stage.start()
    scheduler.points = counting = Counting()
    add_builds(stage.database, ["r1", "r2", "r3"], request_id="req-r")
    ids = ask(stage, "o", 10, 8)
    assert isinstance(stage.database, Racing)
    stage.database.rival = lambda conn: claim.claim(conn, [ask_for(each, "a") for each in ("r1", "r2", "r3")], NOW)
    stage.nudge(*ids)
    assert stage.ear.all_of("unplaceable", 10) == set(ids)
    assert (counting.passes, dispatched(stage)) == (2, 3)
    assert used(stage.database) == sums(stage.database)
    assert words(stage, ids[0]) == "7 of 10 fit, at least 8 were asked for"


def test_a_host_that_only_one_may_try_does_not_stand_in_the_way_of_all(stage: Stage) -> None:
    add_host(stage.database, "a", places=8, probation="a build tries it now")
    ids = ask(stage, "o", 3, 3)
    stage.start()
    assert stage.ear.all_of("unplaceable", 3) == set(ids)
    assert words(stage, ids[1]) == "1 of 3 fit, at least 3 were asked for"
    with stage.database.read() as conn:
        assert decision.of_operation(conn, ids[1])[-1].lost == ("a",)
    add_host(stage.database, "b", places=2)
    stage.nudge(*ids)
    assert stage.ear.all_of("dispatched", 3) == set(ids)
    assert used(stage.database) == sums(stage.database)
    assert [amount.vcpus for amount in used(stage.database).values()] == [1, 2]


def test_those_that_are_left_of_a_request_are_placed_one_by_one(stage: Stage) -> None:
    add_host(stage.database, "a", places=2)
    ids = ask(stage, "o", 4, 4)
    with stage.database.write() as conn:
        conn.execute(update(operation).where(operation.c.id == ids[0]).values(state="cancelled", unfinished=None))
    stage.start()
    told = dict(stage.ear.next() for _ in range(2))
    assert (len(told["dispatched"]), len(told["unplaceable"])) == (2, 1)


def test_one_that_is_poisoned_harms_the_others_no_more_than_by_their_minimum(stage: Stage) -> None:
    add_host(stage.database, "a", places=9)
    ids = ask(stage, "o", 5, 5)
    with stage.database.write() as conn:
        conn.execute(update(operation).where(operation.c.id == ids[2]).values(excluded_hosts="{no json"))
    stage.start()
    assert stage.ear.all_of("dispatched", 4) == {*ids} - {ids[2]}

"""A whole scheduler on an in-process bus and SQLite: from the nudge to what the conductor hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import pytest
from sqlalchemy import Connection, update

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db import decision, notice, operation, schema
from drover.db.engine import Database
from drover.rpc import scheduler as contract
from drover.rpc.bus import Address, Message
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.fault import DELIVER, Fault, Parcel
from drover.runtime.threads import ThreadRuntime
from scheduler.service import Scheduler
from tests.contract.store.claim_rows import add_builds, add_host, states, sums, used

WAIT_S = 60.0
CONTEXT = RequestContext(request_id="req-test")


class ConductorEar:
    """Hears what schedulers tell."""

    methods = frozenset({"dispatched", "unplaceable"})

    def __init__(self, runtime: ThreadRuntime) -> None:
        self.heard = runtime.queue()

    def dispatch(self, message: Message) -> None:
        self.heard.put((message.method, tuple(message.args["operation_ids"])))

    def next(self) -> tuple[str, tuple[str, ...]]:
        return cast("tuple[str, tuple[str, ...]]", self.heard.get(WAIT_S))

    def all_of(self, method: str, count: int) -> set[str]:
        """Ids told by *method*, until there are *count*."""
        found: set[str] = set()
        while len(found) < count:
            told, ids = self.next()
            assert told == method
            found.update(ids)
        return found


class NoWordToTheConductor:
    """A broker that takes nudges and refuses what schedulers tell."""

    def __init__(self, runtime: ThreadRuntime) -> None:
        self.refused = runtime.queue()

    def judge(self, parcel: Parcel) -> Fault:
        if parcel.method in ConductorEar.methods:
            self.refused.put(parcel.method)
            raise errors.BusUnavailable(detail="away")
        return DELIVER


class Flaky(Database):
    """A database whose writes or reads fail on demand, before or after their commit."""

    def __init__(self, runtime: ThreadRuntime) -> None:
        super().__init__("sqlite://", DatabaseSettings(), runtime)
        self.failing_reads = 0
        self.failing_writes = 0
        self.failing_after_commit = 0

    def write(self) -> AbstractContextManager[Connection]:
        return self._write()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self.failing_writes:
            self.failing_writes -= 1
            raise errors.StoreUnavailable(detail="killed")
        with super().write() as conn:
            yield conn
        if self.failing_after_commit:
            self.failing_after_commit -= 1
            raise errors.StoreUnavailable(detail="the answer to COMMIT was lost")

    def read(self) -> AbstractContextManager[Connection]:
        if self.failing_reads:
            self.failing_reads -= 1
            raise errors.StoreUnavailable(detail="killed")
        return super().read()


class Stage:
    """A database, a bus with an ear at the conductor's place, and schedulers."""

    def __init__(self, kind: type[Flaky] = Flaky) -> None:
        self.runtime = ThreadRuntime()
        self.database = kind(self.runtime)
        with self.database.write() as conn:
            schema.metadata.create_all(conn)
        self.bus = EmbeddedBus(self.runtime)
        self.ear = ConductorEar(self.runtime)
        self.bus.serve(Address("conductor"), self.ear, 1)
        self.schedulers: list[Scheduler] = []

    def start(self, name: str = "s1", **settings: object) -> Scheduler:
        chosen = SchedulerSettings(**settings)  # type: ignore[arg-type]
        scheduler = Scheduler(self.runtime, self.bus, self.database, chosen, TimeSettings(), name)
        self.schedulers.append(scheduler)
        scheduler.start()
        return scheduler

    def nudge(self, *ids: str) -> None:
        client(contract.CONTRACT, self.bus).schedule(CONTEXT, ids)

    def close(self) -> None:
        for scheduler in self.schedulers:
            scheduler.stop()
        self.bus.close()
        self.database.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_a_nudge_ends_in_a_claim_a_decision_and_a_word_to_the_conductor(stage: Stage) -> None:
    add_host(stage.database, "a")
    add_host(stage.database, "b", enabled=0, disabled_reason="disk swap")
    stage.start()
    add_builds(stage.database, ["o1"])
    stage.nudge("o1")
    assert stage.ear.next() == ("dispatched", ("o1",))
    assert states(stage.database) == {"o1": ("dispatched", "a")}
    assert used(stage.database) == sums(stage.database)
    with stage.database.read() as conn:
        (why,) = decision.of_operation(conn, "o1")
        (steps,) = operation.logs(conn, "o1")
    assert (why.chosen, why.attempt) == ("a", 1)
    assert why.funnel[:2] == (("all", 2), ("up_enabled", 1))
    assert why.refused == (("b", "up_enabled", "disabled: disk swap"),)
    assert [each[0] for each in why.weights] == ["a"]
    assert steps.service == "scheduler@s1"
    assert [step.name for step in steps.steps] == ["decide", "claim"]


def test_what_no_host_takes_keeps_its_state_and_its_reasons(stage: Stage) -> None:
    add_host(stage.database, "a", places=0)
    stage.start()
    add_builds(stage.database, ["o1"], attempt=2)
    stage.nudge("o1")
    assert stage.ear.next() == ("unplaceable", ("o1",))
    assert states(stage.database) == {"o1": ("scheduling", "")}
    with stage.database.read() as conn:
        (why,) = decision.of_operation(conn, "o1")
    assert (why.chosen, why.attempt) == ("", 2)
    assert why.refused == (("a", "vcpus", "1 vCPU wanted, 0 of 0 free"),)


def test_who_waits_for_room_and_is_refused_as_before_is_not_told_again(stage: Stage) -> None:
    add_host(stage.database, "a", places=0)
    add_builds(stage.database, ["o1", "o2", "o3"])
    with stage.database.write() as conn:
        of = schema.operation.c.id
        conn.execute(update(schema.operation).where(of == "o1").values(waits="of 1 host vcpus refused 1"))
        conn.execute(update(schema.operation).where(of == "o2").values(waits="of 2 hosts vcpus refused 2"))
    stage.start()
    assert stage.ear.all_of("unplaceable", 2) == {"o2", "o3"}
    with stage.database.read() as conn:
        assert decision.of_operation(conn, "o1") == ()
    add_host(stage.database, "b", places=1)
    stage.nudge("o1")
    assert stage.ear.next() == ("dispatched", ("o1",))


def test_a_host_that_came_later_is_seen(stage: Stage) -> None:
    stage.start()
    add_builds(stage.database, ["o1"])
    stage.nudge("o1")
    assert stage.ear.next() == ("unplaceable", ("o1",))
    add_host(stage.database, "a")
    stage.nudge("o1")
    assert stage.ear.next() == ("dispatched", ("o1",))


def test_repeated_and_unknown_ids_have_no_effect(stage: Stage) -> None:
    add_host(stage.database, "a")
    stage.start()
    add_builds(stage.database, ["o1", "o2"])
    stage.nudge("o1", "o1", "unknown")
    assert stage.ear.all_of("dispatched", 1) == {"o1"}
    stage.nudge("o1", "o2")
    assert stage.ear.all_of("dispatched", 1) == {"o2"}
    assert sum(amount.vcpus for amount in sums(stage.database).values()) == 2


def test_what_was_nudged_before_the_start_is_swept_up(stage: Stage) -> None:
    add_host(stage.database, "a", places=3)
    add_builds(stage.database, ["o1", "o2", "o3", "o4"])
    stage.start(batch=2)
    heard = [stage.ear.next() for _ in range(3)]
    told = {(method, each) for method, ids in heard for each in ids}
    assert {method for method, _ in told} == {"dispatched", "unplaceable"}
    assert {each for _, each in told} == {"o1", "o2", "o3", "o4"}
    assert sorted(state for state, _ in states(stage.database).values()) == ["dispatched"] * 3 + ["scheduling"]


def test_a_retry_goes_elsewhere(stage: Stage) -> None:
    add_host(stage.database, "a", places=8)
    add_host(stage.database, "b", places=2)
    stage.start()
    add_builds(stage.database, ["o1"], excluded_hosts=("a",))
    stage.nudge("o1")
    assert stage.ear.next() == ("dispatched", ("o1",))
    assert states(stage.database)["o1"] == ("dispatched", "b")


def test_a_burst_spreads_and_fills_to_the_last_place(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        add_host(stage.database, name, places=10)
    ids = [f"o{number:02}" for number in range(30)]
    add_builds(stage.database, ids)
    stage.start()
    stage.nudge(*ids)
    assert stage.ear.all_of("dispatched", 30) == set(ids)
    assert [amount.vcpus for amount in sums(stage.database).values()] == [10, 10, 10]


@pytest.mark.parametrize(("fault", "times"), [("failing_reads", 2), ("failing_writes", 2), ("failing_after_commit", 1)])
def test_a_database_that_goes_away_loses_nothing(stage: Stage, fault: str, times: int) -> None:
    add_host(stage.database, "a")
    add_builds(stage.database, ["o1", "o2"])
    stage.start()
    assert stage.ear.all_of("dispatched", 2) == {"o1", "o2"}
    add_builds(stage.database, ["o3", "o4"])
    setattr(stage.database, fault, times)
    stage.nudge("o3", "o4")
    assert stage.ear.all_of("dispatched", 2) == {"o3", "o4"}
    assert getattr(stage.database, fault) == 0
    assert used(stage.database) == sums(stage.database)
    assert used(stage.database)["a"].vcpus == 4


def test_a_poisoned_operation_harms_only_itself(stage: Stage) -> None:
    add_host(stage.database, "a")
    add_builds(stage.database, ["o1", "o2", "o3"])
    with stage.database.write() as conn:
        table = schema.operation
        conn.execute(update(table).where(table.c.id == "o2").values(excluded_hosts="{no json"))
    stage.start()
    assert stage.ear.all_of("dispatched", 2) == {"o1", "o3"}
    assert states(stage.database)["o2"] == ("scheduling", "")
    add_builds(stage.database, ["o4"])
    stage.nudge("o4")
    assert stage.ear.all_of("dispatched", 1) == {"o4"}


def test_stopping_places_what_came(stage: Stage) -> None:
    add_host(stage.database, "a")
    scheduler = stage.start()
    add_builds(stage.database, ["o1"])
    stage.nudge("o1")
    scheduler.stop()
    assert stage.ear.next() == ("dispatched", ("o1",))


def test_stopping_does_not_wait_for_a_database_that_is_away(stage: Stage) -> None:
    stage.database.failing_reads = stage.database.failing_writes = 1_000_000
    scheduler = stage.start()
    stopped = stage.runtime.event()

    def stop() -> None:
        scheduler.stop()
        stopped.set()

    stage.runtime.spawn("stop", stop)
    assert stopped.wait(WAIT_S)
    stage.database.failing_reads = stage.database.failing_writes = 0


def test_two_schedulers_nudged_alike_place_each_operation_once(stage: Stage) -> None:
    for name in ("a", "b"):
        add_host(stage.database, name, places=20)
    stage.start("s1")
    stage.start("s2")
    ids = [f"o{number:02}" for number in range(40)]
    add_builds(stage.database, ids)
    for name in ("s1", "s2"):
        client(contract.CONTRACT, stage.bus, server=name).schedule(CONTEXT, tuple(ids))
    assert stage.ear.all_of("dispatched", 40) == set(ids)
    assert used(stage.database) == sums(stage.database)
    assert [amount.vcpus for amount in used(stage.database).values()] == [20, 20]


def test_a_broker_that_is_away_does_not_stop_placing(stage: Stage) -> None:
    add_host(stage.database, "a")
    faults = NoWordToTheConductor(stage.runtime)
    bus = EmbeddedBus(stage.runtime, faults)
    scheduler = Scheduler(stage.runtime, bus, stage.database, SchedulerSettings(), TimeSettings(), "s1")
    stage.schedulers.append(scheduler)
    scheduler.start()
    for name in ("o1", "o2"):
        add_builds(stage.database, [name])
        client(contract.CONTRACT, bus).schedule(CONTEXT, (name,))
        faults.refused.get(WAIT_S)
        assert states(stage.database)[name] == ("dispatched", "a")


def test_a_scheduler_shows_that_it_lives(stage: Stage) -> None:
    scheduler = stage.start("s7")
    assert client(contract.CONTRACT, stage.bus).ping(CONTEXT) == "s7"
    scheduler.stop()
    with stage.database.read() as conn:
        assert [(kind, name) for kind, name, _, _ in notice.services(conn)] == [("scheduler", "s7")]

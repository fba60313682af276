"""Questions to a whole scheduler on an in-process bus and SQLite: what it answers, and that nothing changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, update

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db import catalog, schema
from drover.db.engine import Database
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy, Hints
from drover.objects.selection import SelectionRequest
from drover.rpc import scheduler as contract
from drover.rpc.bus import Address, Message
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.scheduler import SchedulerAPI
from drover.runtime.threads import ThreadRuntime
from scheduler.decide import Limits
from scheduler.plugin import load_chain
from scheduler.query import Query
from scheduler.service import Scheduler
from scheduler.snapshot import pack, replay, take, unpack
from tests.contract.store.claim_rows import NOW, add_builds, add_group, add_host, states

WAIT_S = 60.0
CONTEXT = RequestContext(request_id="req-test")
SMALL = Flavor(id="f-small", name="small", vcpus=1, memory_mib=512, disk_gib=2, created_at=NOW)
SETTINGS = SchedulerSettings()


class Ear:
    """A conductor that hears what becomes of operations."""

    methods = frozenset({"dispatched", "unplaceable"})

    def __init__(self, runtime: ThreadRuntime) -> None:
        self._heard = runtime.queue()

    def dispatch(self, message: Message) -> None:
        for each in message.args["operation_ids"]:
            self._heard.put(each)

    def hear(self, count: int) -> None:
        """Wait for the end of so many operations."""
        for _ in range(count):
            self._heard.get(WAIT_S)


class Stage:
    def __init__(self) -> None:
        self.runtime = ThreadRuntime()
        self.database = Database("sqlite://", DatabaseSettings(), self.runtime)
        with self.database.write() as conn:
            schema.metadata.create_all(conn)
            catalog.put_flavor(conn, SMALL)
        self.bus = EmbeddedBus(self.runtime)
        self.ear = Ear(self.runtime)
        self.bus.serve(Address("conductor"), self.ear, 1)
        self.scheduler = Scheduler(self.runtime, self.bus, self.database, SETTINGS, TimeSettings(), "s1")
        self.api: SchedulerAPI = client(contract.CONTRACT, self.bus)

    def place(self, *ids: str) -> None:
        self.api.schedule(CONTEXT, ids)
        self.ear.hear(len(ids))

    def rows(self) -> dict[str, int]:
        """How many rows each table has, and how often capacity was written."""
        with self.database.read() as conn:
            counted = {
                name: int(conn.execute(select(func.count()).select_from(table)).scalar_one())
                for name, table in schema.metadata.tables.items()
                if name != "service"
            }
            changes = conn.execute(select(func.max(schema.host_capacity.c.change))).scalar()
        return counted | {"changes": int(changes or 0)}


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    add_host(made.database, "a", places=4)
    add_host(made.database, "b", places=2)
    add_host(made.database, "c", places=8, enabled=0, disabled_reason="disk swap")
    made.scheduler.start()
    yield made
    made.scheduler.stop()
    made.bus.close()
    made.database.close()


def test_a_dry_run_says_what_a_build_would_get_and_claims_nothing(stage: Stage) -> None:
    before = stage.rows()
    reply = stage.api.select(CONTEXT, SelectionRequest(flavor="small", count=7))
    assert stage.rows() == before
    assert sorted(each.host for each in reply.selections) == ["a"] * 4 + ["b"] * 2
    assert reply.first is not None
    assert reply.refusal is not None
    assert reply.selections[0].alternates == ("b",)
    assert reply.refusal.funnel[-1][1] == 0
    assert ("c", "up_enabled", "disabled: disk swap") in reply.refusal.refused
    add_builds(stage.database, ["o1"])
    stage.place("o1")
    assert states(stage.database)["o1"] == ("dispatched", reply.selections[0].host)


def test_hints_are_names_or_ids_and_bind_a_dry_run(stage: Stage) -> None:
    add_group(stage.database, "g1", GroupPolicy.ANTI_AFFINITY)
    add_builds(stage.database, ["o1"])
    stage.place("o1")
    (_, host) = states(stage.database)["o1"]
    other = stage.api.select(CONTEXT, SelectionRequest(flavor="small", hints=Hints(different_host=("n-o1",)), count=1))
    assert [each.host for each in other.selections] == [{"a": "b", "b": "a"}[host]]
    grouped = stage.api.select(CONTEXT, SelectionRequest(flavor=SMALL.id, hints=Hints(group="g1"), count=3))
    assert sorted(each.host for each in grouped.selections) == ["a", "b"]
    for request, error in (
        (SelectionRequest(flavor="huge"), errors.FlavorNotFound),
        (SelectionRequest(flavor="small", image="none"), errors.ImageNotFound),
        (SelectionRequest(flavor="small", hints=Hints(group="none")), errors.ServerGroupNotFound),
        (SelectionRequest(flavor="small", hints=Hints(same_host=("none",))), errors.InstanceNotFound),
        (SelectionRequest(flavor="small", count=0), errors.InvalidCount),
        (SelectionRequest(flavor="small", count=1001), errors.InvalidCount),
    ):
        with pytest.raises(error):
            stage.api.select(CONTEXT, request)


def test_capacity_is_what_then_really_fits(stage: Stage) -> None:
    found = stage.api.capacity(CONTEXT, SelectionRequest(flavor="small"))
    assert (found.count, found.complete) == (6, True)
    assert {each.host: (each.count, each.refuser) for each in found.hosts} == {"a": (4, "vcpus"), "b": (2, "vcpus")}
    ids = [f"o{number}" for number in range(8)]
    add_builds(stage.database, ids)
    stage.place(*ids)
    assert sum(state == "dispatched" for state, _ in states(stage.database).values()) == found.count
    assert stage.api.capacity(CONTEXT, SelectionRequest(flavor="small")).count == 0


def test_a_host_explains_itself_then_and_now(stage: Stage) -> None:
    add_builds(stage.database, ["o1"])
    stage.place("o1")
    told = stage.api.explain(CONTEXT, "o1", "c")
    assert [(each.outcome, each.refuser, each.words) for each in told.then] == [
        ("refused", "up_enabled", "disabled: disk swap")
    ]
    assert {each.filter: each.words for each in told.verdicts}["up_enabled"] == "disabled: disk swap"
    with stage.database.write() as conn:
        conn.execute(update(schema.host_capacity).where(schema.host_capacity.c.host == "c").values(enabled=1))
    now = stage.api.explain(CONTEXT, "o1", "c")
    assert now.then == told.then
    assert not any(each.words for each in now.verdicts)
    assert (now.passed, now.better) == (3, 0)
    (_, host) = states(stage.database)["o1"]
    assert stage.api.explain(CONTEXT, "o1", host).then[0].outcome == "chosen"
    with pytest.raises(errors.HostNotFound):
        stage.api.explain(CONTEXT, "o1", "nowhere")
    with pytest.raises(errors.OperationNotFound):
        stage.api.explain(CONTEXT, "none", "a")


def test_a_plan_moves_guests_that_are_at_rest(stage: Stage) -> None:
    ids = [f"o{number}" for number in range(4)]
    with stage.database.write() as conn:  # all of them to one host
        conn.execute(update(schema.host_capacity).where(schema.host_capacity.c.host == "b").values(enabled=0))
    add_builds(stage.database, ids)
    stage.place(*ids)
    with stage.database.write() as conn:
        conn.execute(update(schema.host_capacity).where(schema.host_capacity.c.host == "b").values(enabled=1))
    assert stage.api.rebalance(CONTEXT, 5).moves == ()  # they are being built
    with stage.database.write() as conn:
        conn.execute(update(schema.allocation).values(state="active"))
        conn.execute(update(schema.instance).values(vm_state="active"))
        conn.execute(update(schema.operation).values(state="succeeded", unfinished=None))
    before = stage.rows()
    plan = stage.api.rebalance(CONTEXT, 5)
    assert stage.rows() == before
    assert {(move.source, move.destination) for move in plan.moves} == {("a", "b")}
    assert len(plan.moves) == 1  # 3 of 4 and 1 of 2; one more would make it 2 of 4 and 2 of 2
    assert plan.spread_after < plan.spread_before
    with pytest.raises(errors.BadInput):
        stage.api.rebalance(CONTEXT, 0)


def test_one_question_at_a_time_leaves_a_worker_for_nudges(stage: Stage) -> None:
    begun, go_on = stage.runtime.event(), stage.runtime.event()

    class Slow:
        name = "slow"

        def applies(self, table: object, spec: object) -> bool:
            begun.set()
            assert go_on.wait(WAIT_S)
            return False

    chain = load_chain(SETTINGS)
    slow = type(chain)(filters=(Slow(), *chain.filters), weighers=chain.weighers)  # type: ignore[arg-type]
    query = Query(stage.runtime, stage.database, slow, Limits())

    def ask() -> None:
        query.capacity("default", SelectionRequest(flavor="small"))

    first = stage.runtime.spawn("first", ask)
    assert begun.wait(WAIT_S)
    with pytest.raises(errors.Unavailable) as caught:
        query.rebalance(1)
    assert caught.value.retryable
    go_on.set()
    assert first.join(WAIT_S)
    assert query.capacity("default", SelectionRequest(flavor="small")).count == 6


def test_a_snapshot_of_a_fleet_replays_to_the_same_choices(stage: Stage) -> None:
    add_group(stage.database, "g1", GroupPolicy.ANTI_AFFINITY)
    add_group(stage.database, "g2", GroupPolicy.AFFINITY)
    add_builds(stage.database, ["o1", "o2"])
    add_builds(stage.database, ["o3", "o4", "o5"], hints=Hints(group="g1"))
    add_builds(stage.database, ["o6", "o7"], hints=Hints(group="g2"))
    for each in ("o1", "o2", "o3", "o4", "o5", "o6", "o7"):
        stage.place(each)
    chosen = [host for _, (_, host) in sorted(states(stage.database).items())]
    assert chosen[4] == ""  # there are two hosts, and the group wants three
    chain, limits = load_chain(SETTINGS), Limits()
    with stage.database.read() as conn:
        taken = take(conn, SETTINGS, chain, NOW, 100)
    again = unpack(pack(taken))
    assert again == taken
    assert [choice.host for choice in replay(again, chain, limits)] == chosen

"""Waiting for room with a real conductor and a real scheduler; the test plays the hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import sqlalchemy as sa

from conductor.service import Conductor, ConductorOptions
from drover.conf.conductor import ConductorSettings
from drover.conf.database import DatabaseSettings
from drover.conf.scheduler import SchedulerSettings
from drover.conf.times import TimeSettings
from drover.db import claim
from drover.db.engine import Database
from drover.db.schema import metadata
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.objects.instance import CreateReply
from drover.objects.operation import Operation
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState
from scheduler.service import CLAIM, Scheduler
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent

T = TypeVar("T")

TIMES = TimeSettings(join_window_s=0.0, reap_interval_s=0.05, owner_lease_s=1.0)
WAIT = Hints(wait=True)
#: far beyond any test on a loaded machine
PATIENCE_S = 60.0


class Killed(BaseException):
    """No exception that code may handle: the process is gone."""


class Whole(Fleet):
    """A conductor and a scheduler. Hosts have four vCPUs; ``whole`` takes them all, ``small`` one."""

    def serve_scheduler(self) -> None:
        self.placing = self.start_scheduler("s1")

    def start_scheduler(self, name: str) -> Scheduler:
        made = Scheduler(self.runtime, self.bus, self.database, SchedulerSettings(), TIMES, name)
        made.start()
        return made

    def another_conductor(self) -> None:
        self.conductor.stop()
        options = ConductorOptions(conductor=ConductorSettings(), times=TIMES, serve_depot=False)
        self.conductor = Conductor(self.runtime, self.bus, self.database, options, "c2")
        self.conductor.start()

    def ask(self, name: str, flavor: str = "whole", hints: Hints = WAIT) -> CreateReply:
        return self.create(name, flavor=flavor, networks=(), hints=hints)

    def show(self, reply: CreateReply) -> Operation:
        return self.api.operation_show(CTX, reply.operation_ids[0])

    def until(self, look: Callable[[], T], what: str) -> T:
        deadline = self.runtime.clock.monotonic() + PATIENCE_S
        while not (found := look()):
            assert self.runtime.clock.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
            self.runtime.sleep(0.01)
        return found

    def placed(self, reply: CreateReply) -> str:
        """Its host, once it has one."""
        return self.until(lambda: self.show(reply).host, "a host")

    def waits(self, reply: CreateReply) -> str:
        """Why, once it does."""
        return self.until(lambda: self.show(reply).waits, "waiting")

    def built(self, agent: PlayedAgent, reply: CreateReply) -> None:
        assert self.placed(reply) == agent.name
        [order] = [order for order in agent.sync().orders if order.operation_id == reply.operation_ids[0]]
        assert agent.begin(order)
        agent.end(order)

    def delete(self, agent: PlayedAgent, reply: CreateReply) -> None:
        op = self.api.instance_action(CTX, reply.instance_uuids[0], Action.DELETE, {})
        [order] = [order for order in agent.sync().orders if order.operation_id == op.id]
        agent.end(order, clean=True)

    def allocations(self) -> dict[str, str]:
        with self.database.read() as conn:
            rows = conn.execute(sa.text("SELECT instance_uuid, host FROM allocation")).all()
        assert len({row[0] for row in rows}) == len(rows), "one is placed twice"
        return dict(map(tuple, rows))

    def close(self) -> None:
        self.placing.stop()
        super().close()


@pytest.fixture
def fleet() -> Iterator[Whole]:
    runtime = ThreadRuntime()
    database = Database("sqlite://", DatabaseSettings(), runtime)
    with database.write() as conn:
        metadata.create_all(conn)
    made = Whole(database, runtime, TIMES)
    made.prepare()
    made.api.flavor_create(CTX, Flavor(id="", name="whole", vcpus=4, memory_mib=512, disk_gib=1))
    yield made
    made.close()
    database.close()


def test_the_oldest_that_fits_gets_the_room_that_comes(fleet: Whole) -> None:
    agent = fleet.agent()
    first = fleet.ask("first")
    fleet.built(agent, first)
    second, third = fleet.ask("second"), fleet.ask("third")
    assert fleet.waits(second) == "of 1 host vcpus refused 1"
    fleet.waits(third)
    fleet.delete(agent, first)
    fleet.built(agent, second)
    assert fleet.show(third).waits
    assert fleet.allocations() == {second.instance_uuids[0]: "h1"}
    fleet.delete(agent, second)
    fleet.built(agent, third)


def test_a_younger_one_that_fits_goes_before(fleet: Whole) -> None:
    agent = fleet.agent()
    there = [fleet.ask(f"there-{number}", flavor="small") for number in range(4)]
    for each in there:
        fleet.built(agent, each)
    old, young = fleet.ask("old"), fleet.ask("young", flavor="small")
    fleet.waits(old)
    fleet.waits(young)
    fleet.delete(agent, there[0])
    fleet.built(agent, young)
    assert fleet.show(old).waits


def test_a_host_that_comes_is_room(fleet: Whole) -> None:
    waiting = fleet.ask("vm")
    assert fleet.waits(waiting) == "no hosts are registered"
    fleet.built(fleet.agent(), waiting)


def test_a_group_waits_for_a_host_of_its_own(fleet: Whole) -> None:
    fleet.api.group_create(CTX, ServerGroup(id="", name="apart", policy=GroupPolicy.ANTI_AFFINITY))
    apart = Hints(group="apart", wait=True)
    fleet.built(fleet.agent(), fleet.ask("one", "small", apart))
    other = fleet.ask("other", "small", apart)
    assert "anti_affinity refused 1" in fleet.waits(other)
    fleet.built(fleet.agent("h2"), other)


def test_room_that_comes_while_no_conductor_is_there(fleet: Whole) -> None:
    agent = fleet.agent()
    first = fleet.ask("first")
    fleet.built(agent, first)
    waiting = fleet.ask("vm")
    fleet.waits(waiting)
    fleet.conductor.stop()
    with fleet.database.write() as conn:  # the last that the one before did
        assert claim.release(conn, instance_uuid=first.instance_uuids[0], host="h1", epoch=1)
    fleet.another_conductor()
    assert fleet.placed(waiting) == "h1"
    assert fleet.allocations() == {waiting.instance_uuids[0]: "h1"}


@pytest.mark.parametrize("point", [CLAIM, f"{CLAIM}.done"])
def test_a_scheduler_that_dies_with_it_leaves_it_waiting_or_placed(fleet: Whole, point: str) -> None:
    agent = fleet.agent()
    first = fleet.ask("first")
    fleet.built(agent, first)
    waiting = fleet.ask("vm")
    fleet.waits(waiting)
    died = fleet.runtime.event()

    class Deadly:
        def hit(self, name: object) -> None:
            if str(name) == point:
                died.set()
                raise Killed

    fleet.placing.points = Deadly()
    fleet.delete(agent, first)
    assert died.wait(PATIENCE_S)
    assert fleet.show(waiting).state in (OperationState.SCHEDULING, OperationState.DISPATCHED)
    fleet.placing = fleet.start_scheduler("s2")
    fleet.built(agent, waiting)
    assert fleet.allocations() == {waiting.instance_uuids[0]: "h1"}

"""Waiting for room: what no host can take stays, says why, and goes to the scheduler again when room may have come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from conductor.workflows.dispatch import DispatchWorkflow
from drover import errors
from drover.conf.times import TimeSettings
from drover.db import decision
from drover.objects import codec
from drover.objects.event import EventKind
from drover.objects.group import Aggregate, GroupPolicy, Hints, ServerGroup
from drover.objects.host import Inventory
from drover.objects.instance import CreateReply
from drover.objects.operation import Decision, ErrorInfo, Operation
from drover.objects.sync import Outcome
from drover.states import Action, OperationState, VmState
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent
from tests.functional.conductor.kill import Killed, Point, dying_core
from tests.functional.conductor.life import Life

WAIT = Hints(wait=True)
#: far beyond any test on a loaded machine
PATIENCE_S = 60.0


@pytest.fixture
def times() -> TimeSettings:
    """Rounds come soon, and looks without a reason never: a test that sees one knows what caused it."""
    return TimeSettings(join_window_s=0.0, reap_interval_s=0.05, owner_lease_s=3600.0)


def until(fleet: Fleet, look: Callable[[], bool], what: str) -> None:
    deadline = fleet.runtime.clock.monotonic() + PATIENCE_S
    while not look():
        assert fleet.runtime.clock.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        fleet.runtime.sleep(0.01)


def decide(fleet: Fleet, op: str, attempt: int = 1, chosen: str = "", left: int = 0) -> None:
    """What a scheduler writes."""
    document = Decision(
        operation_id=op,
        attempt=attempt,
        chosen=chosen,
        funnel=(("all", 2), ("memory", left)),
        at=fleet.runtime.clock.now(),
    )
    entry = decision.Entry(operation_id=op, attempt=attempt, chosen=chosen, document=decision.pack(document))
    with fleet.database.write() as conn:
        decision.put(conn, [entry])


def refuse(fleet: Fleet, reply: CreateReply, attempt: int = 1) -> None:
    """What a scheduler does that finds no host."""
    for op in reply.operation_ids:
        decide(fleet, op, attempt)
    fleet.api.unplaceable(CTX, reply.operation_ids)


def show(fleet: Fleet, reply: CreateReply) -> Operation:
    return fleet.api.operation_show(CTX, reply.operation_ids[0])


def waits(fleet: Fleet, *replies: CreateReply) -> None:
    """They wait, and whoever nudges the scheduler from now on has a reason.

    A conductor looks once when it finds the first that waits: here that is one more, which nothing else is about.
    """
    mark = fleet.create("mark", networks=(), hints=WAIT)
    refuse(fleet, mark)
    until(fleet, lambda: fleet.scheduler.nudged.count(mark.operation_ids[0]) == 2, "the first look")
    for reply in replies:
        refuse(fleet, reply)
    until(fleet, lambda: all(show(fleet, reply).waits for reply in replies), "waiting")
    fleet.scheduler.nudged.clear()


def nudged(fleet: Fleet, *replies: CreateReply) -> None:
    """In this order, to be tried again."""
    wanted = [op for reply in replies for op in reply.operation_ids]
    until(fleet, lambda: [op for op in fleet.scheduler.nudged if op in wanted][: len(wanted)] == wanted, "a nudge")


def full(fleet: Fleet) -> tuple[PlayedAgent, CreateReply]:
    """Host h1 with an active guest."""
    agent = fleet.agent()
    reply = fleet.create("there")
    fleet.place(reply)
    [order] = agent.sync().orders
    assert agent.begin(order)
    agent.end(order)
    return agent, reply


def test_without_a_word_it_fails(fleet: Fleet) -> None:
    reply = fleet.create()
    refuse(fleet, reply)
    until(fleet, lambda: show(fleet, reply).state is OperationState.FAILED, "the end")
    error = show(fleet, reply).error
    assert error is not None
    assert error.code == "NoValidHost"
    assert "of 2 hosts memory refused 2" in error.message


def test_a_build_that_failed_on_every_host_there_is_ends_with_that_failure(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply)
    broken = ErrorInfo(code="DiskFull", message="no space for image i on /var", retryable=True, params={"what": "i"})
    agent.end(agent.sync().orders[0], Outcome.FAILED, clean=True, error=broken)
    assert show(fleet, reply).error == broken  # why it is at its second attempt
    refuse(fleet, reply, attempt=2)
    until(fleet, lambda: show(fleet, reply).state is OperationState.FAILED, "the end")
    error = show(fleet, reply).error
    assert error is not None
    assert error == replace(broken, message=f"{broken.message}; no other host: of 2 hosts memory refused 2")
    fault = fleet.api.instance_show(CTX, reply.instance_uuids[0]).fault
    assert fault is not None
    assert (fault.code, fault.message) == (error.code, error.message)


def test_a_build_that_succeeds_elsewhere_has_no_error(fleet: Fleet) -> None:
    first, second = fleet.agent("h1"), fleet.agent("h2")
    reply = fleet.create()
    fleet.place(reply, "h1")
    first.end(
        first.sync().orders[0], Outcome.FAILED, clean=True, error=ErrorInfo(code="X", message="x", retryable=True)
    )
    fleet.place(reply, "h2", attempt=2)
    [order] = second.sync().orders
    assert second.begin(order)
    second.end(order)
    ended = show(fleet, reply)
    assert (ended.state, ended.error) == (OperationState.SUCCEEDED, None)


def test_it_stays_in_scheduling_and_says_why(fleet: Fleet) -> None:
    reply = fleet.create(hints=WAIT)
    refuse(fleet, reply)
    until(fleet, lambda: bool(show(fleet, reply).waits), "waiting")
    op = show(fleet, reply)
    assert (op.state, op.waits) == (OperationState.SCHEDULING, "of 2 hosts memory refused 2")
    assert fleet.api.instance_show(CTX, reply.instance_uuids[0]).vm_state is VmState.BUILDING
    told = [e for e in fleet.events.wait(0, 0.0).events if e.kind == EventKind.OPERATION and e.detail]
    assert [e.detail for e in told] == ["waits for room: of 2 hosts memory refused 2"]


def test_a_word_that_the_rows_contradict_changes_nothing(fleet: Fleet) -> None:
    """An old message, or one about an attempt that is over."""
    reply = fleet.create(hints=WAIT)
    [op] = reply.operation_ids
    fleet.api.unplaceable(CTX, (op,))  # nobody decided
    decide(fleet, op, attempt=7)
    fleet.api.unplaceable(CTX, (op,))
    decide(fleet, op, chosen="h1", left=1)
    fleet.api.unplaceable(CTX, (op,))
    fleet.api.ping(CTX)
    assert not show(fleet, reply).waits
    assert show(fleet, reply).state is OperationState.SCHEDULING


def test_a_release_lets_the_oldest_be_tried_first(fleet: Fleet) -> None:
    agent, there = full(fleet)
    first, second = fleet.create("first", hints=WAIT), fleet.create("second", hints=WAIT)
    waits(fleet, second, first)
    fleet.api.instance_action(CTX, there.instance_uuids[0], Action.DELETE, {})
    [order] = agent.sync().orders
    assert not fleet.scheduler.nudged
    agent.end(order, clean=True)
    nudged(fleet, first, second)


def test_what_is_placed_waits_no_more_and_waits_on_when_it_comes_back(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create(hints=WAIT)
    waits(fleet, reply)
    fleet.place(reply)
    assert not show(fleet, reply).waits
    [order] = agent.sync().orders
    agent.end(order, Outcome.FAILED, clean=True, error=ErrorInfo(code="DriverError", message="no", retryable=True))
    op = show(fleet, reply)
    assert (op.state, op.attempt) == (OperationState.SCHEDULING, 2)
    assert op.waits, "its budget is over by the time it comes back, if it waited for long"
    refuse(fleet, reply, attempt=2)
    fleet.api.ping(CTX)
    assert show(fleet, reply).state is OperationState.SCHEDULING


@pytest.mark.parametrize("how", ["enabled", "undrained", "registered", "inventory", "released", "aggregate"])
def test_whatever_gives_room_wakes_it(fleet: Fleet, how: str) -> None:
    agent = fleet.agent()
    fleet.api.host_set_enabled(CTX, "h1", enabled=False, reason="so")
    fleet.api.host_set_draining(CTX, "h1", draining=True)
    fleet.agent("h2")
    aggregate = fleet.api.aggregate_create(CTX, Aggregate(id="", name="ssd"))
    reply = fleet.create(hints=WAIT)
    waits(fleet, reply)
    match how:
        case "enabled":
            fleet.api.host_set_enabled(CTX, "h1", enabled=True)
        case "undrained":
            fleet.api.host_set_draining(CTX, "h1", draining=False)
        case "registered":
            agent.register()
        case "inventory":
            agent.sync(inventory=Inventory(vcpus=64, memory_mib=65536, disk_gib=1000))
        case "released":
            fleet.api.host_release(CTX, "h1")
        case "aggregate":
            fleet.api.aggregate_add_host(CTX, aggregate.id, "h1")
    nudged(fleet, reply)


def test_a_deleted_group_wakes_its_members(fleet: Fleet) -> None:
    group = fleet.api.group_create(CTX, ServerGroup(id="", name="apart", policy=GroupPolicy.ANTI_AFFINITY))
    reply = fleet.create(hints=Hints(group=group.name, wait=True))
    waits(fleet, reply)
    fleet.api.group_delete(CTX, group.name)
    nudged(fleet, reply)


def test_an_unshelve_waits_as_its_instance_was_asked_to(fleet: Fleet) -> None:
    life = Life(fleet)
    life.put_for(Action.UNSHELVE)
    life.leave()
    with fleet.database.write() as conn:
        conn.execute(sa.text("UPDATE instance SET hints = :hints"), {"hints": codec.to_json(WAIT)})
    op = fleet.api.instance_action(CTX, life.uuid, Action.UNSHELVE, {})
    assert op.state is OperationState.SCHEDULING
    decide(fleet, op.id)
    fleet.api.unplaceable(CTX, (op.id,))
    until(fleet, lambda: bool(fleet.api.operation_show(CTX, op.id).waits), "waiting")
    fleet.api.operation_cancel(CTX, op.id)
    assert life.show().vm_state is VmState.SHELVED_OFFLOADED


def test_cancelling_ends_it(fleet: Fleet) -> None:
    reply = fleet.create(hints=WAIT)
    waits(fleet, reply)
    assert fleet.api.operation_cancel(CTX, reply.operation_ids[0]).state is OperationState.CANCELLED
    assert not show(fleet, reply).waits
    refuse(fleet, reply)  # a message that was on its way
    fleet.api.ping(CTX)
    assert show(fleet, reply).state is OperationState.CANCELLED


def test_deleting_the_instance_ends_it(fleet: Fleet) -> None:
    reply = fleet.create(hints=WAIT)
    waits(fleet, reply)
    fleet.api.instance_action(CTX, reply.instance_uuids[0], Action.DELETE, {})
    assert show(fleet, reply).state is OperationState.CANCELLED


def test_it_waits_as_long_as_it_may(fleet: Fleet) -> None:
    reply = fleet.create(hints=Hints(wait=True, wait_s=1.0))
    refuse(fleet, reply)
    until(fleet, lambda: show(fleet, reply).finished_at is not None, "the end")
    op = show(fleet, reply)
    assert op.error is not None
    assert op.error.code == "NoValidHost"
    assert "memory refused 2 for 1 s" in op.error.message
    assert fleet.api.instance_show(CTX, reply.instance_uuids[0]).vm_state is VmState.ERROR


class TestSlowLook:
    @pytest.fixture
    def times(self) -> TimeSettings:
        return TimeSettings(join_window_s=0.0, reap_interval_s=0.05, owner_lease_s=0.5)

    def test_a_lost_note_costs_a_lease(self, fleet: Fleet) -> None:
        """What freed the room was another conductor, which died before it could tell anybody."""
        reply = fleet.create(hints=WAIT)
        refuse(fleet, reply)
        until(fleet, lambda: bool(show(fleet, reply).waits), "waiting")
        for _ in range(3):
            fleet.scheduler.nudged.clear()
            nudged(fleet, reply)

    @pytest.mark.parametrize("point", list(Point))
    def test_a_conductor_that_dies_of_the_refusal_leaves_it_waiting_or_to_be_asked_again(
        self, fleet: Fleet, point: Point
    ) -> None:
        reply = fleet.create(hints=WAIT)
        [op] = reply.operation_ids
        decide(fleet, op)
        with pytest.raises(Killed):
            DispatchWorkflow(dying_core(fleet, point)).unplaceable([op])
        assert bool(show(fleet, reply).waits) is (point is Point.AFTER)
        assert show(fleet, reply).state is OperationState.SCHEDULING
        fleet.scheduler.nudged.clear()
        nudged(fleet, reply)  # by the one that lives, as waiting or as left alone
        fleet.api.unplaceable(CTX, (op,))
        until(fleet, lambda: bool(show(fleet, reply).waits), "waiting")

    def test_its_budget_does_not_run(self, fleet: Fleet) -> None:
        reply = fleet.create(hints=WAIT)
        refuse(fleet, reply)
        until(fleet, lambda: bool(show(fleet, reply).waits), "waiting")
        fleet.scheduler.nudged.clear()
        with fleet.database.write() as conn:
            conn.exec_driver_sql("UPDATE operation SET created_at = '2020-01-01T00:00:00.000000Z'")
        nudged(fleet, reply, reply)  # a lease and more
        assert show(fleet, reply).state is OperationState.SCHEDULING


@pytest.mark.parametrize(
    "hints",
    [Hints(wait_s=5.0), Hints(wait=True, wait_s=-1.0), Hints(wait=True, wait_s=float("inf"))],
)
def test_a_limit_that_makes_no_sense_is_refused(fleet: Fleet, hints: Hints) -> None:
    with pytest.raises((errors.InvalidHints, errors.BadRequest)):
        fleet.create(hints=hints)

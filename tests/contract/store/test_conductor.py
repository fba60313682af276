"""A whole conductor over each database: joined transactions, poison, two conductors at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from conductor.service import Conductor, ConductorOptions
from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.objects.sync import Begun, Held, Order, Outcome, Result
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, PowerState, Verdict, VmState
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent


def started(database: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    made = Fleet(database, runtime, TimeSettings(join_window_s=0.005, reap_interval_s=0.2, owner_lease_s=1.0))
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def fleet(db: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    yield from started(db, runtime)


@pytest.fixture
def pg_fleet(pg: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    yield from started(pg, runtime)


def ordered(agent: PlayedAgent) -> list[Order]:
    return sorted(agent.sync().orders, key=lambda order: order.instance_uuid)


def succeeded(order: Order) -> Result:
    return Result(
        operation_id=order.operation_id,
        attempt=order.attempt,
        instance_uuid=order.instance_uuid,
        epoch=order.epoch,
        outcome=Outcome.SUCCEEDED,
        power_state=PowerState.RUNNING,
    )


def begin_all(agent: PlayedAgent, orders: list[Order]) -> None:
    begun = tuple(Begun(operation_id=o.operation_id, attempt=o.attempt, permit=True) for o in orders)
    held = tuple(Held(operation_id=o.operation_id, attempt=o.attempt) for o in orders)
    assert all(permit.granted for permit in agent.sync(begun=begun, held=held).permits)


def test_many_results_in_one_sync_are_all_applied(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create("web", count=3)
    fleet.place(reply)
    orders = ordered(agent)
    begin_all(agent, orders)
    answer = agent.sync(results=tuple(succeeded(o) for o in orders))
    assert [a.verdict for a in answer.acks] == [Verdict.APPLIED] * 3
    waited = fleet.waiting.operation_wait(CTX, reply.operation_ids, 5.0)
    assert waited.done
    assert {op.state for op in waited.operations} == {OperationState.SUCCEEDED}


def test_a_poisoned_item_is_set_aside_and_the_rest_proceeds(pg_fleet: Fleet) -> None:
    """A NUL in a text poisons PostgreSQL; SQLite would store it."""
    fleet = pg_fleet
    agent = fleet.agent()
    fleet.place(fleet.create("web", count=2))
    orders = ordered(agent)
    begin_all(agent, orders)
    poison = replace(succeeded(orders[0]), operation_id="\0")
    answer = agent.sync(results=(succeeded(orders[0]), poison, succeeded(orders[1])))
    verdicts = {a.operation_id: a.verdict for a in answer.acks}
    assert verdicts == {
        orders[0].operation_id: Verdict.APPLIED,
        orders[1].operation_id: Verdict.APPLIED,
        "\0": Verdict.REJECTED,
    }
    assert fleet.api.instance_show(CTX, orders[0].instance_uuid).vm_state is VmState.ACTIVE
    assert [alarm.kind for alarm in fleet.api.alarm_list(CTX)] == ["DeadLetter"]


def test_another_conductor_takes_over_what_one_left_behind(fleet: Fleet, runtime: ThreadRuntime) -> None:
    reply = fleet.create()
    fleet.scheduler.nudged.clear()
    fleet.conductor.stop()
    times = TimeSettings(reap_interval_s=0.1, owner_lease_s=0.5)
    second = Conductor(runtime, fleet.bus, fleet.database, ConductorOptions(times=times, serve_depot=False), "c2")
    second.start()
    try:
        deadline = runtime.clock.monotonic() + 60
        while fleet.api.operation_show(CTX, reply.operation_ids[0]).owner != "c2":
            assert runtime.clock.monotonic() < deadline
            runtime.sleep(0.02)
        while not fleet.scheduler.nudged:
            assert runtime.clock.monotonic() < deadline
            runtime.sleep(0.02)
        assert set(fleet.scheduler.nudged) == set(reply.operation_ids)
    finally:
        second.stop()


def test_syncs_of_many_hosts_share_a_transaction_and_each_gets_its_own_answer(fleet: Fleet) -> None:
    agents = [fleet.agent(f"h{n}") for n in range(1, 5)]
    replies = [fleet.create(f"vm{n}") for n in range(1, 5)]
    for agent, reply in zip(agents, replies, strict=True):
        fleet.place(reply, agent.name)
    answers: dict[str, list[Order]] = {}

    def speak(agent: PlayedAgent) -> None:
        answers[agent.name] = ordered(agent)

    tasks = [fleet.runtime.spawn(agent.name, lambda agent=agent: speak(agent)) for agent in agents]  # type: ignore[misc]
    assert all(task.join(60) for task in tasks)
    told = {name: [o.operation_id for o in orders] for name, orders in answers.items()}
    assert told == {agent.name: list(reply.operation_ids) for agent, reply in zip(agents, replies, strict=True)}


def test_racing_verbs_on_one_instance_leave_one_winner(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply)
    [order] = ordered(agent)
    begin_all(agent, [order])
    agent.end(order)
    won: list[str] = []
    lost: list[str] = []

    def go(action: Action) -> None:
        try:
            won.append(fleet.api.instance_action(CTX, "vm", action, {}).id)
        except Exception as exc:
            lost.append(getattr(exc, "code", str(exc)))

    tasks = [fleet.runtime.spawn(f"t{n}", lambda: go(Action.STOP)) for n in range(6)]
    assert all(task.join(60) for task in tasks)
    assert len(won) == 1
    assert lost == ["InstanceBusy"] * 5

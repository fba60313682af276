"""Verbs that arrive together share a transaction, and each has its own end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from drover import errors
from drover.conf.times import TimeSettings
from drover.objects.operation import Operation
from drover.states import Action, OperationState, VmState
from tests.functional.conductor.conftest import CTX, Fleet

#: long enough for requests of one test to meet in one transaction; the answers are the same when they do not
JOINED = TimeSettings(join_window_s=0.1)


@pytest.fixture
def times() -> TimeSettings:
    return JOINED


def together(fleet: Fleet, works: Sequence[Callable[[], Operation]]) -> list[Operation | str]:
    """What each came to: its operation, or the code of its error."""
    found: dict[int, Operation | str] = {}

    def run(number: int) -> None:
        try:
            found[number] = works[number]()
        except errors.DroverError as exc:
            found[number] = exc.code

    tasks = [fleet.runtime.spawn(f"ask-{number}", lambda number=number: run(number)) for number in range(len(works))]  # type: ignore[misc]
    assert all(task.join(60) for task in tasks)
    return [found[number] for number in range(len(works))]


def verb(fleet: Fleet, ref: str, action: Action, key: str = "") -> Callable[[], Operation]:
    return lambda: fleet.api.instance_action(CTX, ref, action, {}, key)


def actives(fleet: Fleet, count: int) -> tuple[str, ...]:
    """Instances on h1; their uuids, their names are vm-1 and so on."""
    agent = fleet.agent()
    reply = fleet.create(count=count, networks=())
    fleet.place(reply, tell=False)
    for order in agent.sync().orders:
        assert agent.begin(order)
        agent.end(order)
    return reply.instance_uuids


def test_by_uuid_by_name_and_twice_are_one_delete_each(fleet: Fleet) -> None:
    uuids = actives(fleet, 3)
    refs = [*uuids, "vm-1", uuids[2], "vm-2"]
    answers = together(fleet, [verb(fleet, ref, Action.DELETE) for ref in refs])
    found = [op for op in answers if isinstance(op, Operation)]
    assert [op.instance_uuid for op in found] == [*uuids, uuids[0], uuids[2], uuids[1]]
    assert len({op.id for op in found}) == 3
    assert {op.state for op in found} == {OperationState.DISPATCHED}


def test_what_is_refused_leaves_the_others_alone(fleet: Fleet) -> None:
    uuids = actives(fleet, 3)
    works = [
        verb(fleet, uuids[0], Action.STOP),
        verb(fleet, "nobody", Action.STOP),
        verb(fleet, uuids[1], Action.START),
        verb(fleet, uuids[2], Action.REBOOT),
    ]
    stop, nobody, start, reboot = together(fleet, works)
    assert (nobody, start) == ("InstanceNotFound", "InvalidState")
    assert isinstance(stop, Operation)
    assert isinstance(reboot, Operation)
    assert (stop.action, reboot.action) == (Action.STOP, Action.REBOOT)


def test_one_key_for_two_instances_serves_one_of_them(fleet: Fleet) -> None:
    uuids = actives(fleet, 2)
    answers = together(fleet, [verb(fleet, uuid, Action.STOP, "k") for uuid in uuids])
    assert answers.count("IdempotencyMismatch") == 1
    (served,) = [op for op in answers if isinstance(op, Operation)]
    assert verb(fleet, served.instance_uuid, Action.STOP, "k")() == served


def test_one_key_told_twice_is_one_operation(fleet: Fleet) -> None:
    (uuid,) = actives(fleet, 1)
    first, second = together(fleet, [verb(fleet, uuid, Action.STOP, "k") for _ in range(2)])
    assert isinstance(first, Operation)
    assert first == second


def test_a_delete_beside_another_verb_has_the_last_word(fleet: Fleet) -> None:
    (uuid,) = actives(fleet, 1)
    stop, delete = together(fleet, [verb(fleet, uuid, Action.STOP), verb(fleet, "vm", Action.DELETE)])
    assert isinstance(delete, Operation)
    if isinstance(stop, Operation):
        assert fleet.api.operation_show(CTX, stop.id).state is OperationState.CANCELLED
    else:
        assert stop == "InstanceBusy"
    assert fleet.api.operation_show(CTX, delete.id).state is OperationState.DISPATCHED


def test_deletes_of_what_no_host_has_are_over_at_once(fleet: Fleet) -> None:
    reply = fleet.create(count=3, networks=())
    answers = together(fleet, [verb(fleet, uuid, Action.DELETE) for uuid in reply.instance_uuids])
    assert [op.state for op in answers if isinstance(op, Operation)] == [OperationState.SUCCEEDED] * 3
    for uuid in reply.instance_uuids:
        assert fleet.api.instance_show(CTX, uuid).vm_state is VmState.DELETED

"""``operation cancel``: at once for the user, by the next sync for the host."""

from __future__ import annotations

import pytest

from drover import errors
from drover.objects.host import Resources
from drover.objects.operation import Operation
from drover.objects.sync import Held, Order
from drover.states import VERBS, Action, OperationState, Verdict, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life

CANCELLABLE = [a for a in Action if not VERBS[a].supersedes and not VERBS[a].places]


def cancel(fleet: Fleet, operation_id: str) -> Operation:
    return fleet.api.operation_cancel(CTX, operation_id)


def dropped(life: Life, order: Order) -> bool:
    held = (Held(operation_id=order.operation_id, attempt=order.attempt),)
    return [d.operation_id for d in life.agent.sync(held=held).drops] == [order.operation_id]


@pytest.mark.parametrize("action", CANCELLABLE)
def test_a_verb_on_a_host_is_dropped_and_its_late_result_changes_nothing(fleet: Fleet, action: Action) -> None:
    life = Life(fleet)
    life.put_for(action)
    before = life.show().vm_state
    op = life.ask(action)
    order = life.order()
    assert life.agent.begin(order)
    ended = cancel(fleet, op.id)
    assert ended.state is OperationState.CANCELLED
    assert ended.error is not None
    assert ended.error.code == "OperationCancelled"
    assert cancel(fleet, op.id) == ended
    assert dropped(life, order)
    assert [a.verdict for a in life.agent.end(order).acks] == [Verdict.ALREADY]
    shown = life.show()
    assert (shown.vm_state, shown.task_state) == (VERBS[action].on_failure or before, "")
    assert [image.name for image in fleet.api.image_list(CTX)] == ["img"]


def test_a_build_that_waits_for_a_host_is_over_at_once(fleet: Fleet) -> None:
    reply = fleet.create()
    assert cancel(fleet, reply.operation_ids[0]).state is OperationState.CANCELLED
    shown = fleet.api.instance_show(CTX, "vm")
    assert (shown.vm_state, shown.task_state) == (VmState.ERROR, "")
    assert shown.fault is not None
    assert shown.fault.code == "OperationCancelled"
    fleet.agent()
    fleet.place(reply)
    assert fleet.api.host_show(CTX, "h1").used == Resources(), "no scheduler places it any more"


def test_an_undelivered_build_gives_its_place_back_at_once(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply, tell=False)
    cancel(fleet, reply.operation_ids[0])
    assert fleet.api.host_show(CTX, "h1").used == Resources()
    assert agent.sync().orders == ()


def test_a_build_at_work_is_dropped_refused_and_cleaned_up(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply)
    [order] = agent.sync().orders
    cancel(fleet, reply.operation_ids[0])
    assert not agent.begin(order), "no late permit"
    [leaving] = agent.sync().leaving
    assert (leaving.instance_uuid, leaving.epoch) == (order.instance_uuid, 1)


def test_an_unshelve_stays_shelved_and_the_next_one_waits_for_what_may_run(fleet: Fleet) -> None:
    life = Life(fleet)
    life.put(VmState.SHELVED_OFFLOADED)
    life.leave()
    op = life.ask(Action.UNSHELVE)
    life.place(op)
    order = life.order()
    assert life.agent.begin(order)
    cancel(fleet, op.id)
    shown = life.show()
    assert (shown.vm_state, shown.host) == (VmState.SHELVED_OFFLOADED, "")
    assert "vm-shelved" in [image.name for image in fleet.api.image_list(CTX)]
    again = life.ask(Action.UNSHELVE)
    assert again.state is OperationState.QUEUED, "its guest may run on the first host"
    life.leave()
    assert life.operation(again).state is OperationState.SCHEDULING


def test_a_delete_is_not_cancelled(fleet: Fleet) -> None:
    life = Life(fleet)
    op = life.ask(Action.DELETE)
    with pytest.raises(errors.OperationNotCancellable):
        cancel(fleet, op.id)
    life.agent.end(life.order(), clean=True)
    assert cancel(fleet, op.id).state is OperationState.SUCCEEDED


def test_an_operation_that_is_none(fleet: Fleet) -> None:
    with pytest.raises(errors.OperationNotFound):
        cancel(fleet, "nope")


def test_the_host_is_asked_to_sync_now(fleet: Fleet) -> None:
    life = Life(fleet)
    op = life.ask(Action.STOP)
    before = life.agent.nudges
    cancel(fleet, op.id)
    life.wait("the nudge arrives", lambda: life.agent.nudges > before)

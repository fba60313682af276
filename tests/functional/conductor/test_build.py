"""Builds as a conductor sees them: rows, permits, verdicts, retries, and what is given back."""

from __future__ import annotations

import pytest

from drover import errors
from drover.objects.host import Resources
from drover.objects.instance import CreateReply
from drover.objects.operation import ErrorInfo
from drover.objects.sync import Gone, Held, Observation, Order, Outcome
from drover.states import Action, OperationState, PowerState, Verdict, VmState
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent

BROKEN = ErrorInfo(code="DriverError", message="define: no", retryable=True)


def order_of(agent: PlayedAgent) -> Order:
    [order] = agent.sync().orders
    return order


def built(fleet: Fleet, agent: PlayedAgent) -> tuple[CreateReply, Order]:
    reply = fleet.create()
    fleet.place(reply, agent.name)
    order = order_of(agent)
    assert agent.begin(order)
    agent.end(order)
    return reply, order


def test_a_build_goes_from_request_to_active(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    shown = fleet.api.instance_show(CTX, "vm")
    assert (shown.vm_state, shown.task_state, shown.host) == (VmState.BUILDING, "scheduling", "")
    fleet.place(reply)
    order = order_of(agent)
    assert order.spec is not None
    assert order.spec.hostname == "vm"
    assert order.spec.ports[0].ip == shown.ports[0].ip
    assert agent.begin(order)
    assert fleet.api.instance_show(CTX, "vm").task_state == "spawning"
    assert [a.verdict for a in agent.end(order).acks] == [Verdict.APPLIED]
    shown = fleet.api.instance_show(CTX, "vm")
    assert (shown.vm_state, shown.task_state, shown.host) == (VmState.ACTIVE, "", "h1")
    assert fleet.api.host_show(CTX, "h1").used == Resources(vcpus=1, memory_mib=512, disk_gib=1)


def test_orders_come_by_cast_and_by_sync_until_the_agent_holds_them(fleet: Fleet) -> None:
    agent = fleet.agent()
    fleet.place(fleet.create())
    first = order_of(agent)
    assert order_of(agent) == first, "a lost reply costs a round, not the order"
    held = (Held(operation_id=first.operation_id, attempt=1),)
    assert agent.sync(held=held).orders == ()
    deadline = fleet.runtime.clock.monotonic() + 30
    while not agent.cast and fleet.runtime.clock.monotonic() < deadline:
        fleet.runtime.sleep(0.01)
    assert agent.cast == [first]


def test_a_result_told_twice_has_one_effect(fleet: Fleet) -> None:
    agent = fleet.agent()
    _, order = built(fleet, agent)
    assert [a.verdict for a in agent.end(order).acks] == [Verdict.ALREADY]
    assert fleet.api.host_show(CTX, "h1").used.vcpus == 1


def test_a_failed_build_goes_to_another_host_with_the_next_epoch(fleet: Fleet) -> None:
    first, second = fleet.agent("h1"), fleet.agent("h2")
    reply = fleet.create()
    fleet.place(reply, "h1")
    order = order_of(first)
    first.end(order, Outcome.FAILED, clean=True, error=BROKEN)
    op = fleet.api.operation_show(CTX, reply.operation_ids[0])
    assert (op.state, op.attempt, op.excluded_hosts) == (OperationState.SCHEDULING, 2, ("h1",))
    assert fleet.api.host_show(CTX, "h1").used == Resources()
    fleet.place(reply, "h2", attempt=2)
    again = order_of(second)
    assert (again.epoch, again.attempt) == (2, 2)
    assert second.begin(again)
    second.end(again)
    assert fleet.api.instance_show(CTX, "vm").host == "h2"


def test_a_build_that_fails_everywhere_is_an_error_with_its_reason(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    for attempt in (1, 2, 3):
        fleet.place(reply, "h1", attempt=attempt)
        agent.end(order_of(agent), Outcome.FAILED, clean=True, error=BROKEN)
    shown = fleet.api.instance_show(CTX, "vm")
    assert shown.vm_state is VmState.ERROR
    assert shown.fault is not None
    assert shown.fault.code == "DriverError"
    waited = fleet.waiting.operation_wait(CTX, reply.operation_ids, 5.0)
    assert waited.done
    assert waited.operations[0].state is OperationState.FAILED


def test_a_late_permit_is_refused_after_the_build_was_given_away(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply)
    order = order_of(agent)
    fleet.api.instance_action(CTX, "vm", Action.DELETE, {})
    assert not agent.begin(order)
    assert fleet.api.operation_show(CTX, reply.operation_ids[0]).state is OperationState.CANCELLED


def test_delete_of_an_undelivered_build_is_over_at_once(fleet: Fleet) -> None:
    fleet.agent()
    reply = fleet.create()
    fleet.place(reply, tell=False)
    op = fleet.api.instance_action(CTX, "vm", Action.DELETE, {})
    assert op.state is OperationState.SUCCEEDED
    assert fleet.api.host_show(CTX, "h1").used == Resources()
    assert fleet.api.instance_show(CTX, reply.instance_uuids[0]).vm_state is VmState.DELETED


def test_delete_waits_for_its_host_and_keeps_the_address_until_then(fleet: Fleet) -> None:
    agent = fleet.agent()
    _, order = built(fleet, agent)
    op = fleet.api.instance_action(CTX, "vm", Action.DELETE, {})
    assert op.state is OperationState.DISPATCHED
    assert fleet.api.instance_action(CTX, "vm", Action.DELETE, {}).id == op.id
    deleting = order_of(agent)
    assert (deleting.action, deleting.epoch) == (Action.DELETE, 1)
    agent.end(deleting, clean=True)
    assert fleet.api.operation_show(CTX, op.id).state is OperationState.SUCCEEDED
    shown = fleet.api.instance_show(CTX, order.instance_uuid)
    assert (shown.vm_state, shown.ports) == (VmState.DELETED, ())


def test_a_superseded_build_is_dropped_and_its_remains_are_cleaned_up(fleet: Fleet) -> None:
    agent = fleet.agent()
    reply = fleet.create()
    fleet.place(reply)
    order = order_of(agent)
    assert agent.begin(order)
    op = fleet.api.instance_action(CTX, "vm", Action.DELETE, {})
    answer = agent.sync(held=(Held(operation_id=order.operation_id, attempt=1),))
    assert [d.operation_id for d in answer.drops] == [order.operation_id]
    assert [o.operation_id for o in answer.orders] == [op.id]
    assert [a.verdict for a in agent.end(order).acks] == [Verdict.ALREADY], "too late to become active"
    agent.sync(gone=(Gone(instance_uuid=order.instance_uuid, epoch=1),))
    assert fleet.api.operation_show(CTX, op.id).state is OperationState.SUCCEEDED
    assert fleet.api.host_show(CTX, "h1").used == Resources()


def test_a_second_verb_names_who_holds_the_instance(fleet: Fleet) -> None:
    fleet.agent()
    reply = fleet.create()
    with pytest.raises(errors.InstanceBusy) as caught:
        fleet.api.instance_action(CTX, "vm", Action.STOP, {})
    assert reply.operation_ids[0] in caught.value.message


def test_start_of_an_active_instance_is_refused(fleet: Fleet) -> None:
    built(fleet, fleet.agent())
    with pytest.raises(errors.InvalidState, match="stopped"):
        fleet.api.instance_action(CTX, "vm", Action.START, {})


def test_a_guest_that_stops_by_itself_is_seen_and_an_old_observation_is_not(fleet: Fleet) -> None:
    agent = fleet.agent()
    _, order = built(fleet, agent)
    off = Observation(instance_uuid=order.instance_uuid, epoch=1, power_state=PowerState.SHUTDOWN)
    on = Observation(instance_uuid=order.instance_uuid, epoch=1, power_state=PowerState.RUNNING)
    other_epoch = Observation(instance_uuid=order.instance_uuid, epoch=2, power_state=PowerState.SHUTDOWN)
    agent.sync(observations=(other_epoch,))
    assert fleet.api.instance_show(CTX, "vm").vm_state is VmState.ACTIVE
    agent.sync(observations=(off,))
    assert fleet.api.instance_show(CTX, "vm").vm_state is VmState.STOPPED
    agent.seq -= 2
    agent.sync(observations=(on,))
    assert fleet.api.instance_show(CTX, "vm").vm_state is VmState.STOPPED


def test_an_older_session_is_told_so(fleet: Fleet) -> None:
    agent = fleet.agent()
    old = agent.session
    agent.register()
    agent.session = old
    with pytest.raises(errors.StaleSession):
        agent.sync()


def test_another_machine_does_not_get_a_known_name(fleet: Fleet) -> None:
    agent = fleet.agent()
    with pytest.raises(errors.HostNameTaken, match="adopt"):
        agent.register(host_uuid="another")
    fleet.api.host_adopt(CTX, "h1")
    assert agent.register(host_uuid="another").session == 2

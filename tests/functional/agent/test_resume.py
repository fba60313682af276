"""The agent dies at each step of each verb, and the next incarnation ends what it began, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.operations import STEPS
from drover.objects.guest import GuestSpec
from drover.objects.sync import Order
from drover.states import Action, PowerState
from tests.contract.virt.spec import make_order, make_spec
from tests.functional.agent.world import Host, World, succeeded


def points_of(action: Action) -> list[str]:
    """Before and after each step, and between the journal's result and its report."""
    points = [f"{action}.{step.name}{end}" for step in STEPS[action] for end in ("", ".done")]
    return [*points, f"{action}.result"]


def built(world: World, host: Host) -> GuestSpec:
    """A running guest, made by an agent that then dies between its orders."""
    spec = make_spec()
    host.boot()
    assert succeeded(world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec))))
    world.conductor.syncs(2)
    host.bury()
    return spec


def dies_and_resumes(world: World, host: Host, order: Order, point: str) -> None:
    host.boot(dies_at=point)
    world.conductor.order(order)
    host.await_death()
    host.boot()
    assert succeeded(world.conductor.result_of(order))


@pytest.mark.parametrize("point", points_of(Action.BUILD))
def test_build(world: World, host: Host, point: str) -> None:
    spec = make_spec()
    dies_and_resumes(world, host, make_order(Action.BUILD, spec), point)
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert (guest.power_state, guest.boots) == (PowerState.RUNNING, 1)
    assert len(world.conductor.permitted) == 1


@pytest.mark.parametrize("lost", ["all", "half"])
@pytest.mark.parametrize("point", ["build.disk", "build.start", "build.start.done", "build.result"])
def test_build_on_a_machine_that_loses_power(world: World, host: Host, point: str, lost: str) -> None:
    spec = make_spec()
    order = make_order(Action.BUILD, spec)
    host.boot(dies_at=point)
    world.conductor.order(order)
    host.await_death()
    host.state_dir.crash((lambda _: 0) if lost == "all" else (lambda length: length // 2))
    for record in host.store.list():
        host.store.put(replace(record, power_state=PowerState.SHUTDOWN))
    host.boot()
    assert succeeded(world.conductor.result_of(order))
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.RUNNING


@pytest.mark.parametrize("point", points_of(Action.DELETE))
def test_delete(world: World, host: Host, point: str) -> None:
    spec = built(world, host)
    dies_and_resumes(world, host, make_order(Action.DELETE, spec), point)
    assert host.store.list() == []


@pytest.mark.parametrize("action", [Action.STOP, Action.START])
def test_power(world: World, host: Host, action: Action) -> None:
    spec = built(world, host)
    for point in points_of(action):
        order = make_order(action, spec, operation_id=f"{action}-{point}")
        dies_and_resumes(world, host, order, point)
        guest = host.guest(spec.uuid)
        assert guest is not None
        assert guest.power_state is (PowerState.RUNNING if action is Action.START else PowerState.SHUTDOWN)
        world.conductor.syncs(2)
        host.bury()


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("point", points_of(Action.REBOOT))
def test_reboot_happens_once(world: World, host: Host, point: str, kind: str) -> None:
    spec = built(world, host)
    dies_and_resumes(world, host, make_order(Action.REBOOT, spec, params={"type": kind}), point)
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert (guest.power_state, guest.boots) == (PowerState.RUNNING, 2)


def test_hard_reboot_cut_off_between_off_and_on(world: World, host: Host) -> None:
    spec = built(world, host)
    order = make_order(Action.REBOOT, spec, params={"type": "hard"})
    host.boot()
    host.life.dies_after_put = lambda guest: guest.power_state is PowerState.SHUTDOWN
    world.conductor.order(order)
    host.await_death()
    host.boot()
    assert succeeded(world.conductor.result_of(order))
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert (guest.power_state, guest.boots) == (PowerState.RUNNING, 2)


def test_reboot_whose_stamp_is_there_is_not_repeated(world: World, host: Host) -> None:
    spec = built(world, host)
    order = make_order(Action.REBOOT, spec)
    host.boot()
    host.life.dies_after_put = lambda guest: guest.operation_id == order.operation_id
    world.conductor.order(order)
    host.await_death()
    host.boot()
    assert succeeded(world.conductor.result_of(order))
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.boots == 1


def test_reboot_with_a_hypervisor_that_does_not_answer_any_more(world: World, host: Host) -> None:
    spec = built(world, host)
    order = make_order(Action.REBOOT, spec, budget_s=2.0)
    host.boot(dies_at="reboot.reboot.done")
    world.conductor.order(order)
    host.await_death()
    world.conductor.hands_out = False
    host.boot()
    host.driver.down = True
    world.conductor.hands_out = True
    result = world.conductor.result_of(order)
    assert result.error is not None
    assert result.error.code == "OutcomeUnknown"
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.boots == 2


def test_result_is_told_again_until_acknowledged(world: World, host: Host) -> None:
    """Also by a machine that lost power right after telling it: a result is durable before it is sent."""
    conductor = world.conductor
    conductor.acknowledges = False
    host.boot()
    order = conductor.order(make_order(Action.BUILD, make_spec()))
    conductor.wait_for(lambda: any(request.results for request in conductor.requests))
    conductor.hands_out = False
    host.bury()
    host.state_dir.crash()
    told_before = len(conductor.requests)
    host.boot()
    conductor.wait_for(lambda: any(request.results for request in conductor.requests[told_before:]))
    conductor.acknowledges = True
    assert succeeded(conductor.result_of(order))
    conductor.syncs(3)
    assert not conductor.requests[-1].results
    assert conductor.times_told[order.operation_id, 1] == 1


def test_acknowledged_result_is_not_told_by_the_next_incarnation(world: World, host: Host) -> None:
    built(world, host)
    before = len(world.conductor.requests)
    host.boot()
    world.conductor.syncs(3)
    assert not any(request.results for request in world.conductor.requests[before:])


def test_stop_leaves_a_build_for_the_next_incarnation(world: World, host: Host) -> None:
    world.conductor.answers_permits = False
    agent = host.boot()
    spec = make_spec()
    order = world.conductor.order(make_order(Action.BUILD, spec))
    world.conductor.begun(order, permit=True)
    agent.stop()
    assert host.guest(spec.uuid) is not None
    world.conductor.answers_permits = True
    host.boot()
    result = world.conductor.result_of(order)
    assert succeeded(result)
    assert {s.detail for s in result.steps if s.name == "disk"} == {"done before a restart, too"}

"""Deletes and leaving records."""

from __future__ import annotations

from dataclasses import replace

from agent.virt.fake_store import GuestRecord
from drover.objects.sync import Outcome
from drover.states import Action, PowerState
from tests.contract.virt.spec import OTHER_DEPLOYMENT, make_order, make_spec
from tests.functional.agent.world import Host, World, succeeded


def test_delete_cancels_a_running_build(world: World, host: Host) -> None:
    host.fake = replace(host.fake, image_latency_s=3600.0)
    host.boot()
    conductor, spec = world.conductor, make_spec()
    build = conductor.order(make_order(Action.BUILD, spec))
    conductor.begun(build)
    conductor.take_away(build.operation_id)
    result = conductor.result_of(conductor.order(make_order(Action.DELETE, spec)))
    assert succeeded(result)
    assert result.clean
    assert host.store.list() == []


def test_leaving_cancels_a_running_build_and_is_answered(world: World, host: Host) -> None:
    host.fake = replace(host.fake, image_latency_s=3600.0)
    host.boot()
    conductor, spec = world.conductor, make_spec()
    conductor.begun(conductor.order(make_order(Action.BUILD, spec)))
    conductor.hands_out = False
    conductor.leaving.add((spec.uuid, 1))
    conductor.wait_for(lambda: (spec.uuid, 1) in conductor.gone)
    conductor.syncs(2)
    assert not conductor.requests[-1].gone
    assert host.store.list() == []


def test_leaving_of_what_was_never_here(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    world.conductor.leaving.add((spec.uuid, 3))
    world.conductor.wait_for(lambda: (spec.uuid, 3) in world.conductor.gone)


def test_leaving_of_an_older_epoch_does_not_touch_the_guest(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec(epoch=2)
    assert succeeded(world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec))))
    world.conductor.leaving.add((spec.uuid, 1))
    world.conductor.syncs(4)
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.RUNNING
    assert not world.conductor.gone


def test_foreign_guest_is_listed_and_never_touched(world: World, host: Host) -> None:
    foreign = GuestRecord(
        uuid=make_spec().uuid,
        name="somebody-elses",
        deployment_id=OTHER_DEPLOYMENT,
        epoch=1,
        defined=True,
        power_state=PowerState.RUNNING,
    )
    host.store.put(foreign)
    host.boot()
    conductor = world.conductor
    conductor.wait_for(lambda: any(request.foreign == ("somebody-elses",) for request in conductor.requests))
    build = conductor.result_of(conductor.order(make_order(Action.BUILD, make_spec())))
    assert build.outcome is Outcome.FAILED
    assert build.error is not None
    assert build.error.code == "GuestConflict"
    conductor.leaving.add((foreign.uuid, 5))
    conductor.syncs(3)
    assert host.store.list() == [foreign]
    assert not conductor.gone
    assert not any(o.instance_uuid == foreign.uuid for request in conductor.requests for o in request.observations)


def test_failed_delete_is_done_again_when_ordered_again(world: World, host: Host) -> None:
    host.boot()
    conductor, spec = world.conductor, make_spec()
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, spec))))
    host.driver.faults["remove"] = 1.0
    order = conductor.order(make_order(Action.DELETE, spec))
    assert conductor.result_of(order).outcome is Outcome.FAILED
    host.driver.faults.clear()
    del conductor.results[order.operation_id, 1]
    conductor.order(order)  # as the conductor does: it stays unfinished, and goes out again
    assert succeeded(conductor.result_of(order))
    assert host.store.list() == []


def test_build_does_not_touch_a_running_guest_of_another_epoch(world: World, host: Host) -> None:
    host.boot()
    conductor = world.conductor
    old, new = make_spec(epoch=1), make_spec(epoch=2)
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, old))))
    before = host.guest(old.uuid)
    result = conductor.result_of(conductor.order(make_order(Action.BUILD, new, operation_id="again")))
    assert result.error is not None
    assert result.error.code == "GuestConflict"
    assert not result.clean
    assert host.guest(old.uuid) == before

"""Messages are lost, repeated, late and stale; each command has one effect or none."""

from __future__ import annotations

from dataclasses import replace

from drover.objects.sync import Outcome
from drover.states import Action, PowerState
from tests.contract.virt.spec import make_order, make_spec
from tests.functional.agent.world import Host, World, succeeded


def test_lost_replies_cost_rounds_only(world: World, host: Host) -> None:
    host.boot()
    world.conductor.syncs(1)
    spec = make_spec()
    for action in (Action.BUILD, Action.STOP, Action.DELETE):
        world.network.lose_replies = 2
        order = world.conductor.order(make_order(action, spec))
        host.cast(order)
        assert succeeded(world.conductor.result_of(order))
    assert host.store.list() == []


def test_cast_begins_before_the_sync(world: World, host: Host) -> None:
    """All steps up to the permit are done although no sync hands the order out."""
    host.boot()
    world.conductor.hands_out = False
    spec = make_spec()
    order = world.conductor.order(make_order(Action.BUILD, spec))
    host.cast(order)
    assert succeeded(world.conductor.result_of(order))
    begun = [b.permit for request in world.conductor.requests for b in request.begun]
    assert True in begun


def test_repeated_casts_have_one_effect(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    build = world.conductor.order(make_order(Action.BUILD, spec))
    for _ in range(5):
        host.cast(build, build)
    assert succeeded(world.conductor.result_of(build))
    host.cast(build)
    reboot = world.conductor.order(make_order(Action.REBOOT, spec))
    for _ in range(5):
        host.cast(reboot, build, reboot)
    assert succeeded(world.conductor.result_of(reboot))
    host.cast(reboot, build)
    world.conductor.syncs(3)
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.boots == 2
    assert set(world.conductor.times_told.values()) == {1}


def test_stale_verbs_have_no_effect_after_a_restart(world: World, host: Host) -> None:
    """The agent has forgotten them; the sync that lists them as held drops them."""
    host.boot()
    spec = make_spec()
    build = world.conductor.order(make_order(Action.BUILD, spec))
    assert succeeded(world.conductor.result_of(build))
    world.conductor.syncs(2)
    host.bury()
    host.boot()
    before, since = host.guest(spec.uuid), len(world.conductor.requests)
    verbs = [make_order(action, spec) for action in (Action.STOP, Action.REBOOT, Action.DELETE)]
    host.cast(build, *verbs)
    for order in verbs:
        world.conductor.held(order, since=since)
    world.conductor.holds_nothing()
    assert host.guest(spec.uuid) == before


def test_stale_build_of_a_stopped_guest_leaves_it_alone(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    build = world.conductor.order(make_order(Action.BUILD, spec))
    assert succeeded(world.conductor.result_of(build))
    assert succeeded(world.conductor.result_of(world.conductor.order(make_order(Action.STOP, spec))))
    world.conductor.syncs(2)
    host.bury()
    host.boot()
    before, since = host.guest(spec.uuid), len(world.conductor.requests)
    host.cast(build)
    world.conductor.held(build, since=since)
    world.conductor.holds_nothing()
    assert host.guest(spec.uuid) == before


def test_stale_build_of_a_removed_guest_is_ignored(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    for action in (Action.BUILD, Action.DELETE):
        assert succeeded(world.conductor.result_of(world.conductor.order(make_order(action, spec))))
    world.conductor.syncs(2)
    host.cast(make_order(Action.BUILD, spec, operation_id="older", attempt=1))
    world.conductor.syncs(3)
    assert not any(b.operation_id == "older" for request in world.conductor.requests for b in request.begun)
    assert host.store.list() == []


def test_lower_attempt_is_ignored(world: World, host: Host) -> None:
    world.conductor.answers_permits = False
    host.boot()
    spec = make_spec(epoch=2)
    second = world.conductor.order(make_order(Action.BUILD, spec, attempt=2))
    host.cast(second)
    world.conductor.begun(second, permit=True)
    host.cast(make_order(Action.BUILD, replace(spec, epoch=1), attempt=1))
    world.conductor.syncs(3)
    assert [(h.operation_id, h.attempt) for h in world.conductor.requests[-1].held] == [(second.operation_id, 2)]
    world.conductor.answers_permits = True
    assert succeeded(world.conductor.result_of(second))


def test_refused_permit_undoes(world: World, host: Host) -> None:
    host.boot()
    order = make_order(Action.BUILD, make_spec())
    world.conductor.refuses.add(order.operation_id)
    result = world.conductor.result_of(world.conductor.order(order))
    assert result.outcome is Outcome.CANCELLED
    assert result.clean
    assert host.store.list() == []


def test_drop_in_the_middle_of_a_build(world: World, host: Host) -> None:
    world.conductor.answers_permits = False
    host.boot()
    spec = make_spec()
    order = world.conductor.order(make_order(Action.BUILD, spec))
    world.conductor.begun(order, permit=True)
    assert host.guest(spec.uuid) is not None
    world.conductor.take_away(order.operation_id)
    world.conductor.holds_nothing()
    assert host.store.list() == []
    assert not world.conductor.times_told


def test_drop_while_the_image_is_fetched(world: World, host: Host) -> None:
    host.fake = replace(host.fake, image_latency_s=3600.0)
    host.boot()
    order = world.conductor.order(make_order(Action.BUILD, make_spec()))
    world.conductor.begun(order)
    world.conductor.take_away(order.operation_id)
    world.conductor.holds_nothing()
    assert host.store.list() == []


def test_permitted_guest_goes_only_by_its_leaving_record(world: World, host: Host) -> None:
    """Dropped after the permit: nothing is undone; the record entitles the removal."""
    host.boot(dies_at="build.start")
    spec = make_spec()
    order = world.conductor.order(make_order(Action.BUILD, spec))
    host.await_death()
    world.conductor.take_away(order.operation_id)
    host.boot()
    world.conductor.syncs(3)
    assert host.guest(spec.uuid) is not None
    world.conductor.leaving.add((spec.uuid, 1))
    world.conductor.wait_for(lambda: (spec.uuid, 1) in world.conductor.gone)
    assert host.store.list() == []


def test_more_casts_than_the_pools_hold(world: World, host: Host) -> None:
    host.boot()
    world.conductor.hands_out = False  # what is cast must be enough
    specs = [make_spec(number) for number in range(1, 41)]
    orders = [world.conductor.order(make_order(Action.BUILD, spec)) for spec in specs]
    host.cast(*orders)
    for order in orders:
        assert succeeded(world.conductor.result_of(order))
    assert max(len(request.held) for request in world.conductor.requests) <= 8
    assert {guest.power_state for guest in host.store.list()} == {PowerState.RUNNING}
    deletes = [world.conductor.order(make_order(Action.DELETE, spec)) for spec in specs]
    host.cast(*deletes)
    for order in deletes:
        assert succeeded(world.conductor.result_of(order))
    assert host.store.list() == []

"""Orders that no record knows: whatever they say, no guest is started, stopped, changed or removed by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drover.objects.guest import GuestSpec, UploadTarget
from drover.objects.sync import Order, Outcome
from drover.states import VERBS, Action, PowerState
from tests.contract.virt.spec import OTHER_DEPLOYMENT, make_order, make_spec
from tests.functional.agent.world import Host, World, succeeded

HOST_VERBS = sorted(set(Action) - {action for action in Action if VERBS[action].pool is None})
MINE = make_spec(1)


@pytest.fixture(params=[PowerState.RUNNING, PowerState.SHUTDOWN])
def settled(request: pytest.FixtureRequest, world: World, host: Host) -> PowerState:
    """A guest of a record, of the second epoch, with nothing under way."""
    host.boot()
    spec = replace(MINE, epoch=2)
    assert succeeded(world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec))))
    if request.param is PowerState.SHUTDOWN:
        assert succeeded(world.conductor.result_of(world.conductor.order(make_order(Action.STOP, spec))))
    world.conductor.syncs(2)
    power: PowerState = request.param
    return power


def _forged(action: Action, spec: GuestSpec, **changes: object) -> Order:
    upload = UploadTarget(image_id=spec.image.id, url="http://127.0.0.1:9", token="t", chunk_bytes=65536)
    order = make_order(action, spec, rescue_image=spec.image, upload=upload)
    return replace(order, operation_id=f"forged-{action}-{spec.name}-{spec.epoch}", **changes)  # type: ignore[arg-type]


def _cast(world: World, host: Host, *orders: Order) -> None:
    """And let the agent ask about them, and forget them."""
    world.conductor.syncs(1)
    for order in orders:
        host.cast(order)
    world.conductor.syncs(2)
    world.conductor.holds_nothing()
    world.conductor.syncs(2)
    assert not host.fatal
    assert not world.conductor.gone


@pytest.mark.parametrize("action", HOST_VERBS)
def test_a_guest_is_as_it_was(world: World, host: Host, settled: PowerState, action: Action) -> None:
    before = host.guest(MINE.uuid)
    assert before is not None
    assert before.power_state is settled
    for epoch in (1, 2, 3, 2**31):  # of the past, its own, and of the future
        _cast(world, host, _forged(action, replace(MINE, epoch=epoch)))
        assert host.guest(MINE.uuid) == before


def test_no_guest_appears(world: World, host: Host) -> None:
    host.boot()
    permitted = set(world.conductor.permitted)
    _cast(world, host, *(_forged(action, make_spec(7 + n)) for n, action in enumerate(HOST_VERBS)))
    assert host.store.list() == []
    assert world.conductor.permitted == permitted


@pytest.mark.parametrize("action", [Action.BUILD, Action.REBUILD, Action.START, Action.RESCUE])
@pytest.mark.parametrize("known", [False, True])
def test_an_order_for_one_guest_with_the_spec_of_another(
    world: World, host: Host, settled: PowerState, action: Action, known: bool
) -> None:
    """Also when a record knows its operation: such an order is a defect."""
    before = host.guest(MINE.uuid)
    order = _forged(action, replace(MINE, epoch=2), instance_uuid=make_spec(8).uuid)
    if known:
        assert world.conductor.result_of(world.conductor.order(order)).outcome is Outcome.FAILED
    else:
        _cast(world, host, order)
    assert host.guest(MINE.uuid) == before


def test_a_build_for_another_deployment_is_not_begun(world: World, host: Host) -> None:
    """Nothing could ever remove such a guest."""
    host.boot()
    _cast(world, host, _forged(Action.BUILD, make_spec(7, deployment_id=OTHER_DEPLOYMENT)))
    assert host.store.list() == []
    assert not any(request.begun for request in world.conductor.requests)

"""Sessions, the lease, and what the hypervisor shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.state_dir import MemoryStateDir
from agent.virt.fake_store import GuestRecord
from drover import errors
from drover.objects.sync import SyncRequest
from drover.states import Action, PowerState
from tests.contract.virt.spec import make_order, make_spec
from tests.functional.agent.world import PATIENCE_S, Host, World, succeeded


def test_stale_session_ends_the_agent(world: World, host: Host) -> None:
    agent = host.boot()
    world.conductor.syncs(1)
    world.conductor.session += 1
    assert host.ended.wait(PATIENCE_S)
    assert isinstance(host.fatal[0], errors.StaleSession)
    running = agent._running
    assert running is not None
    running.manager.offer((make_order(Action.BUILD, make_spec()),))  # no more work is taken
    assert not running.manager.compose(SyncRequest(host="h1", session=1, seq=99)).held


def test_host_name_taken(world: World, host: Host) -> None:
    world.conductor.taken_by = "another machine"
    with pytest.raises(errors.HostNameTaken, match="drover host adopt h1"):
        host.boot()


def test_state_dir_in_use(world: World, host: Host) -> None:
    host.boot()
    with pytest.raises(errors.StateDirLocked):
        host.boot()


def test_host_uuid_is_kept(world: World, host: Host) -> None:
    host.boot()
    host.bury()
    host.boot()
    first, second = world.conductor.registrations
    assert first.identity == second.identity
    assert first.identity.host_uuid


@pytest.mark.parametrize("action", [Action.BUILD, Action.START, Action.REBOOT])
def test_a_host_that_is_cut_off_starts_nothing(world: World, host: Host, action: Action) -> None:
    """The order is in hand, permitted and confirmed; the lease ends before the last step."""
    conductor, spec = world.conductor, make_spec()
    conductor.lease_s = 0.3
    host.boot()
    if action is not Action.BUILD:
        for before in (Action.BUILD, Action.STOP):
            assert succeeded(conductor.result_of(conductor.order(make_order(before, spec))))
    started: list[bool] = []

    def note_start(guest: GuestRecord) -> bool:
        if guest.power_state is PowerState.RUNNING:
            started.append(host.lease.valid())
        return False

    host.life.dies_after_put = note_start
    host.life.waits_at = f"{action}.{'start' if action is not Action.REBOOT else 'reboot'}"
    order = conductor.order(make_order(action, spec))
    assert host.life.waiting.wait(PATIENCE_S)
    world.network.cut = True
    wait_until(lambda: not host.lease.valid())
    host.life.go_on.set()
    world.network.cut = False
    assert succeeded(conductor.result_of(order))
    assert started == [True]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_guest_that_stops_by_itself_is_told_at_once(world: World, host: Host) -> None:
    host.times = replace(host.times, usage_interval_s=3600.0)
    host.boot()
    conductor, spec = world.conductor, make_spec()
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, spec))))
    host.driver._power_off(spec.uuid)
    conductor.wait_for(
        lambda: any(
            (o.instance_uuid, o.epoch, o.power_state) == (spec.uuid, 1, PowerState.SHUTDOWN)
            for request in conductor.requests
            for o in request.observations
        )
    )


def test_usage_is_reported(world: World, host: Host) -> None:
    host.boot()
    conductor, spec = world.conductor, make_spec()
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, spec))))
    conductor.wait_for(
        lambda: any(
            o.usage and o.usage.memory_mib == 16 for request in conductor.requests for o in request.observations
        )
    )
    conductor.wait_for(lambda: any(request.usage and request.usage.guests == 1 for request in conductor.requests))


def test_silent_hypervisor_says_nothing_of_its_guests(world: World, host: Host) -> None:
    host.boot()
    conductor, spec = world.conductor, make_spec()
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, spec))))
    conductor.wait_for(lambda: any(request.observations for request in conductor.requests))
    host.driver.down = True
    conductor.syncs(4)  # what was read before is told first
    before = len(conductor.requests)
    conductor.syncs(6)
    assert not any(request.observations or request.usage for request in conductor.requests[before:])
    host.driver.down = False
    conductor.wait_for(lambda: any(request.observations for request in conductor.requests[before + 6 :]))


def test_agent_waits_for_a_conductor() -> None:
    """Nobody serves the conductor's topic yet: registration is tried until it is answered."""
    world = World(serve=False)
    host = world.host()
    booting = threading.Thread(target=host.boot)
    booting.start()
    try:
        assert world.network.tried.wait(PATIENCE_S)
        assert not world.conductor.registrations
        world.serve()
        booting.join(PATIENCE_S)
        world.conductor.syncs(1)
    finally:
        world.close()


def test_agent_that_waits_for_a_conductor_can_be_stopped() -> None:
    world = World(serve=False)
    host = world.host()
    ended: list[BaseException] = []

    def boot() -> None:
        try:
            host.boot()
        except errors.Unavailable as exc:
            ended.append(exc)

    booting = threading.Thread(target=boot)
    booting.start()
    assert world.network.tried.wait(PATIENCE_S)
    host.agent.stop()
    booting.join(PATIENCE_S)
    assert not booting.is_alive()
    assert ended
    MemoryStateDir.lock(host.state_dir)  # it was let go
    world.close()


def test_stopped_agent_does_not_start(world: World, host: Host) -> None:
    """A signal may come before the start has begun."""
    agent = host.boot()
    agent.stop()
    agent.start()
    assert len(world.conductor.registrations) == 1


def test_agent_waits_for_its_hypervisor(world: World, host: Host) -> None:
    host.down = True
    booting = threading.Thread(target=host.boot)
    booting.start()
    wait_until(lambda: hasattr(host, "backend"))
    assert not world.conductor.registrations
    host.driver.down = False
    booting.join(PATIENCE_S)
    assert world.conductor.registrations[0].inventory.driver == "fake"

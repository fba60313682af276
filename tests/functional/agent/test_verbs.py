"""The verbs, from order to result."""

from __future__ import annotations

from drover.objects.sync import Outcome
from drover.states import Action, PowerState
from tests.contract.virt.spec import make_order, make_spec
from tests.functional.agent.world import CTX, Host, World, succeeded


def test_build_by_sync(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    order = world.conductor.order(make_order(Action.BUILD, spec))
    result = world.conductor.result_of(order)
    assert succeeded(result)
    assert result.power_state is PowerState.RUNNING
    names = [step.name for step in result.steps]
    assert names == ["claim", "image", "disk", "network", "config", "define", "permit", "start"]
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert (guest.power_state, guest.boots, guest.epoch) == (PowerState.RUNNING, 1, 1)


def test_whole_life(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    conductor = world.conductor
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.BUILD, spec))))
    stopped = conductor.result_of(conductor.order(make_order(Action.STOP, spec)))
    assert succeeded(stopped)
    assert stopped.power_state is PowerState.SHUTDOWN
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.START, spec))))
    assert succeeded(conductor.result_of(conductor.order(make_order(Action.REBOOT, spec, params={"type": "hard"}))))
    guest = host.guest(spec.uuid)
    assert guest is not None
    assert guest.boots == 3
    deleted = conductor.result_of(conductor.order(make_order(Action.DELETE, spec)))
    assert succeeded(deleted)
    assert deleted.clean
    assert host.guest(spec.uuid) is None


def test_failed_build_leaves_nothing(world: World, host: Host) -> None:
    host.boot()
    host.driver.faults["start"] = 1.0
    spec = make_spec()
    result = world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec)))
    assert result.outcome is Outcome.FAILED
    assert result.clean
    assert result.error is not None
    assert result.error.code == "DriverError"
    assert host.guest(spec.uuid) is None


def test_failed_undo_is_told(world: World, host: Host) -> None:
    host.boot()
    host.driver.faults.update(start=1.0, remove=1.0)
    spec = make_spec()
    result = world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec)))
    assert result.outcome is Outcome.FAILED
    assert not result.clean


def test_console_log_and_ping(world: World, host: Host) -> None:
    host.boot()
    spec = make_spec()
    world.conductor.result_of(world.conductor.order(make_order(Action.BUILD, spec)))
    log = host.api.console_log(CTX, spec.uuid)
    assert "GUEST-READY" in log.text
    assert not log.truncated
    short = host.api.console_log(CTX, spec.uuid, max_bytes=4)
    assert short.truncated
    assert len(short.text) == 4
    assert host.api.ping(CTX) == "h1"

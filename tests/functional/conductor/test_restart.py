"""Guests that should run and do not: restart policies, and boots of their host."""

from __future__ import annotations

import pytest

from drover.clock import to_iso
from drover.conf.times import TimeSettings
from drover.objects.sync import Observation, Order
from drover.states import Action, OperationState, PowerState, RestartPolicy, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life


@pytest.fixture
def times() -> TimeSettings:
    # Another boot of a host asks for an interval, a lease and a call.
    return TimeSettings(
        join_window_s=0.0, reap_interval_s=0.1, sync_interval_s=0.5, lease_factor=0.1, rpc_timeout_s=0.5
    )


@pytest.fixture
def life(fleet: Fleet) -> Life:
    return Life(fleet)


def see(life: Life, power_state: PowerState) -> None:
    life.agent.sync(observations=(Observation(instance_uuid=life.uuid, epoch=1, power_state=power_state),))


def begun(life: Life) -> Order:
    life.wait("it is started", lambda: life.show().task_state == "powering-on")
    return life.order()


def test_a_crashed_guest_is_started_again_by_its_policy(life: Life) -> None:
    life.change(restart=RestartPolicy.ON_FAILURE.value)
    see(life, PowerState.CRASHED)
    order = begun(life)
    op = life.fleet.api.operation_show(CTX, order.operation_id)
    assert (order.action, op.user_id, op.project_id) == (Action.START, "drover", "default")
    assert life.show().vm_state is VmState.ACTIVE
    life.done(order)
    shown = life.show()
    assert (shown.vm_state, shown.power_state, shown.restarts) == (VmState.ACTIVE, PowerState.RUNNING, 1)
    assert shown.restart_at is None


def test_a_guest_that_shut_itself_down_stays_off_without_a_policy(life: Life) -> None:
    see(life, PowerState.SHUTDOWN)
    assert life.show().vm_state is VmState.STOPPED
    assert life.agent.sync().orders == ()


def test_a_stop_that_somebody_asked_for_is_no_accident(life: Life) -> None:
    life.change(restart=RestartPolicy.ALWAYS.value)
    life.ask(Action.STOP)
    life.agent.end(life.order(), power_state=PowerState.SHUTDOWN)
    see(life, PowerState.SHUTDOWN)
    shown = life.show()
    assert (shown.vm_state, shown.restart_at) == (VmState.STOPPED, None)


def test_restarts_are_bounded_and_their_end_says_why(life: Life) -> None:
    life.change(restart=RestartPolicy.ALWAYS.value, restarts=5, restarted_at=_now(life))
    see(life, PowerState.SHUTDOWN)
    life.wait("it is stopped", lambda: life.show().vm_state is VmState.STOPPED)
    shown = life.show()
    assert shown.fault is not None
    assert shown.fault.code == "RestartsExhausted"
    assert life.agent.sync().orders == ()


def test_a_start_that_fails_counts_and_is_tried_again(life: Life) -> None:
    life.change(restart=RestartPolicy.ALWAYS.value)
    see(life, PowerState.SHUTDOWN)
    first = begun(life)
    life.fleet.api.operation_cancel(CTX, first.operation_id)
    see(life, PowerState.SHUTDOWN)
    shown = life.show()
    assert (shown.vm_state, shown.restarts) == (VmState.ACTIVE, 1)
    assert shown.restart_at is not None, "due again, after its back-off"
    life.change(restart_at="2020-01-01T00:00:00.000000Z")
    assert begun(life).operation_id != first.operation_id
    assert life.show().restarts == 2


def test_after_a_boot_of_their_host_guests_start_once_they_are_seen_there(life: Life) -> None:
    life.agent.register(boot_id="another")
    assert life.show().vm_state is VmState.ACTIVE
    assert life.agent.sync().orders == (), "nobody has seen it yet"
    see(life, PowerState.SHUTDOWN)
    order = begun(life)
    life.done(order)
    assert life.show().vm_state is VmState.ACTIVE
    see(life, PowerState.SHUTDOWN)
    assert life.show().vm_state is VmState.STOPPED, "once for each boot"


def test_a_new_agent_of_the_same_boot_starts_nothing(life: Life) -> None:
    life.agent.register()
    see(life, PowerState.SHUTDOWN)
    assert life.show().vm_state is VmState.STOPPED


def test_a_verb_in_the_way_is_waited_for(life: Life) -> None:
    life.agent.register(boot_id="another")
    op = life.ask(Action.REBOOT)
    see(life, PowerState.SHUTDOWN)
    assert life.show().task_state == "rebooting"
    life.done(life.order())
    assert life.operation(op).state is OperationState.SUCCEEDED
    assert life.show().restart_at is None


def _now(life: Life) -> str:
    return to_iso(life.fleet.runtime.clock.now())

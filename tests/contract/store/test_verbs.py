"""What the verbs write, on every database: images with their operations, epochs, restarts, soft-deletes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover.conf.times import TimeSettings
from drover.db.engine import Database
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, PowerState, RestartPolicy, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life
from tests.functional.conductor.test_restart import begun, see


@pytest.fixture
def life(db: Database, runtime: ThreadRuntime) -> Iterator[Life]:
    times = TimeSettings(
        join_window_s=0.0,
        reap_interval_s=0.1,
        owner_lease_s=0.5,
        reclaim_instance_interval_s=3600,
        sync_interval_s=0.5,
        lease_factor=0.1,
        rpc_timeout_s=0.5,
    )
    fleet = Fleet(db, runtime, times)
    fleet.prepare()
    yield Life(fleet)
    fleet.close()


def images(life: Life) -> list[str]:
    return sorted(image.name for image in life.fleet.api.image_list(CTX))


def test_shelved_and_back_with_the_next_epoch(life: Life) -> None:
    life.put(VmState.SHELVED_OFFLOADED)
    assert images(life) == ["img", "vm-shelved"]
    op = life.ask(Action.UNSHELVE)
    assert op.state is OperationState.QUEUED
    life.leave()
    life.wait("the scheduler is nudged", lambda: op.id in life.fleet.scheduler.nudged)
    life.place(op)
    order = life.order()
    assert order.epoch == 2
    life.done(order)
    shown = life.show()
    assert (shown.vm_state, shown.epoch, shown.shelved_image_id) == (VmState.ACTIVE, 2, "")
    assert images(life) == ["img"]


def test_an_image_lives_and_dies_with_its_operation(life: Life) -> None:
    op = life.ask(Action.SNAPSHOT)
    assert images(life) == ["img", "kept"]
    assert life.fleet.api.operation_cancel(CTX, op.id).state is OperationState.CANCELLED
    assert images(life) == ["img"]


def test_a_rebuild_changes_its_instance_with_its_operation(life: Life) -> None:
    life.ask(Action.REBUILD)
    life.agent.end(life.order(), power_state=PowerState.SHUTDOWN)
    assert life.show().vm_state is VmState.STOPPED


def test_a_crash_and_a_boot_are_answered_with_a_start(life: Life) -> None:
    life.change(restart=RestartPolicy.ON_FAILURE.value)
    see(life, PowerState.CRASHED)
    life.done(begun(life))
    assert life.show().restarts == 1
    life.agent.register(boot_id="another")
    see(life, PowerState.SHUTDOWN)
    life.change(restarts=0)
    life.done(begun(life))
    shown = life.show()
    assert (shown.vm_state, shown.power_state) == (VmState.ACTIVE, PowerState.RUNNING)


def test_a_soft_delete_ends_by_itself(life: Life) -> None:
    assert life.ask(Action.DELETE).action is Action.SOFT_DELETE
    life.agent.end(life.order(), power_state=PowerState.SHUTDOWN)
    life.change(soft_deleted_at="2020-01-01T00:00:00.000000Z")
    life.wait("a delete begins", lambda: life.show().task_state == "deleting")
    life.agent.end(life.order(), clean=True)
    assert life.show().vm_state is VmState.DELETED

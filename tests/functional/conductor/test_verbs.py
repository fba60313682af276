"""Each verb from request to end: what the host is told, and what is left."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.times import TimeSettings
from drover.objects.catalog import Image, ImageStatus
from drover.objects.host import Resources
from drover.objects.operation import ErrorInfo, OperationFilter
from drover.objects.sync import Outcome
from drover.states import VERBS, Action, OperationState, PowerState, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life

BROKEN = ErrorInfo(code="DriverError", message="no", retryable=False)
PLAIN = [a for a in Action if not VERBS[a].places and a not in (Action.DELETE, Action.SOFT_DELETE)]


@pytest.fixture
def life(fleet: Fleet) -> Life:
    return Life(fleet)


def images(life: Life) -> dict[str, Image]:
    return {image.name: image for image in life.fleet.api.image_list(CTX)}


@pytest.mark.parametrize("action", PLAIN)
def test_a_verb_reaches_its_host_and_ends_where_its_row_says(life: Life, action: Action) -> None:
    life.put_for(action)
    before = life.show().vm_state
    op = life.ask(action)
    assert life.show().task_state == VERBS[action].task_state
    order = life.order()
    assert (order.action, order.operation_id, order.epoch) == (action, op.id, 1)
    assert (order.upload is not None) is VERBS[action].uploads
    assert (order.rescue_image is not None) is (action is Action.RESCUE)
    life.done(order)
    shown = life.show()
    assert (shown.vm_state, shown.task_state) == (VERBS[action].end or before, "")
    assert life.operation(op).state is OperationState.SUCCEEDED


@pytest.mark.parametrize("action", PLAIN)
def test_a_verb_that_fails_leaves_the_state_its_row_says_the_reason_and_no_image(life: Life, action: Action) -> None:
    life.put_for(action)
    before = life.show().vm_state
    op = life.ask(action)
    life.agent.end(life.order(), Outcome.FAILED, error=BROKEN)
    shown = life.show()
    assert shown.vm_state is (VERBS[action].on_failure or before)
    assert shown.fault is not None
    assert shown.fault.code == "DriverError"
    assert life.operation(op).state is OperationState.FAILED
    assert list(images(life)) == ["img"]


@pytest.mark.parametrize(
    ("action", "params", "code"),
    [
        (Action.BUILD, {}, "BadInput"),
        (Action.SOFT_DELETE, {}, "BadInput"),
        (Action.STOP, {"type": "hard"}, "BadInput"),
        (Action.REBOOT, {"type": "warm"}, "BadInput"),
        (Action.REBUILD, {"image": ""}, "BadInput"),
        (Action.REBUILD, {"image": "x" * 300}, "BadInput"),
        (Action.REBUILD, {"image": "nope"}, "ImageNotFound"),
        (Action.REBUILD, {"image": "queued"}, "ImageNotReady"),
        (Action.REBUILD, {"image": "large"}, "InvalidFlavor"),
        (Action.REBUILD, {"image": "arm"}, "InvalidImage"),
        (Action.RESCUE, {"image": "nope"}, "ImageNotFound"),
        (Action.RESCUE, {"image": "queued"}, "ImageNotReady"),
        (Action.SNAPSHOT, {}, "InvalidName"),
        (Action.SNAPSHOT, {"name": " x"}, "InvalidName"),
        (Action.SNAPSHOT, {"name": "a\nb"}, "InvalidName"),
        (Action.SNAPSHOT, {"name": "ok", "more": "x"}, "BadInput"),
        (Action.DELETE, {"force": "yes"}, "BadInput"),
        (Action.UNSHELVE, {}, "InvalidState"),
        (Action.RESTORE, {}, "InvalidState"),
        (Action.START, {}, "InvalidState"),
    ],
)
def test_what_cannot_be_gets_its_code_and_writes_nothing(
    life: Life, action: Action, params: dict[str, str], code: str
) -> None:
    url = "http://127.0.0.1:1/x.qcow2"
    api = life.fleet.api
    api.image_create(CTX, Image(id="", name="queued"))
    api.image_create(CTX, Image(id="", name="large", url=url, min_disk_gib=50))
    api.image_create(CTX, Image(id="", name="arm", url=url, architecture="aarch64"))

    def rows() -> list[object]:
        with life.fleet.database.read() as conn:
            return [
                conn.execute(sa.text(f"SELECT * FROM {table}")).all() for table in ("instance", "operation", "image")
            ]

    before = rows()
    with pytest.raises(errors.DroverError) as caught:
        api.instance_action(CTX, "vm", action, params)
    assert caught.value.code == code
    assert rows() == before


def test_a_rebuild_from_another_image_keeps_identity_and_ports(life: Life) -> None:
    other = life.fleet.api.image_create(CTX, Image(id="", name="other", url="http://127.0.0.1:1/o.qcow2"))
    before = life.show()
    life.put(VmState.STOPPED, PowerState.SHUTDOWN)
    life.ask(Action.REBUILD, image="other")
    order = life.order()
    assert order.params["power"] == "off"
    assert order.spec is not None
    assert (order.spec.image.id, order.epoch) == (other.id, before.epoch)
    assert life.agent.begin(order)
    life.agent.end(order, power_state=PowerState.SHUTDOWN)
    after = life.show()
    assert (after.vm_state, after.image_id, after.image_name) == (VmState.STOPPED, other.id, "other")
    assert (after.ports, after.host, after.uuid) == (before.ports, "h1", before.uuid)


def test_an_instance_without_a_guest_cannot_be_rebuilt(fleet: Fleet) -> None:
    fleet.create()
    op = fleet.api.operation_list(CTX, OperationFilter()).operations[0]
    fleet.api.operation_cancel(CTX, op.id)
    with pytest.raises(errors.InstanceNotPlaced):
        fleet.api.instance_action(CTX, "vm", Action.REBUILD, {})


def test_a_rescue_may_boot_another_image(life: Life) -> None:
    other = life.fleet.api.image_create(CTX, Image(id="", name="rescuer", url="http://127.0.0.1:1/o.qcow2"))
    life.ask(Action.RESCUE, image="rescuer")
    order = life.order()
    assert order.rescue_image is not None
    assert order.spec is not None
    assert order.rescue_image.id == other.id
    assert order.spec.image.id == life.show().image_id


def test_a_snapshot_is_an_image_that_its_host_fills(life: Life) -> None:
    op = life.ask(Action.SNAPSHOT, name="kept")
    kept = images(life)["kept"]
    assert (kept.status, kept.min_disk_gib, kept.id) == (ImageStatus.QUEUED, 1, op.params["image_id"])
    order = life.order()
    assert order.upload is not None
    assert (order.upload.image_id, order.upload.chunk_bytes) == (kept.id, 4 * 1024 * 1024)
    assert order.budget_s == 900
    life.done(order)
    assert images(life)["kept"].status is ImageStatus.ACTIVE


def test_an_order_told_again_has_a_fresh_token(life: Life) -> None:
    life.ask(Action.SNAPSHOT, name="kept")
    first, second = life.order(), life.order()
    assert first.upload is not None
    assert second.upload is not None
    assert first.upload.image_id == second.upload.image_id


def test_shelve_gives_the_room_back_when_the_host_says_gone_and_keeps_the_address(life: Life) -> None:
    before = life.show()
    life.put(VmState.SHELVED_OFFLOADED)
    shown = life.show()
    assert (shown.vm_state, shown.host, shown.cleanup_hosts) == (VmState.SHELVED_OFFLOADED, "", ("h1",))
    assert life.fleet.api.host_show(CTX, "h1").used.vcpus == 1
    life.leave()
    assert life.fleet.api.host_show(CTX, "h1").used == Resources()
    assert life.show().ports == before.ports
    with pytest.raises(errors.InUse, match="vm"):
        life.fleet.api.image_delete(CTX, "vm-shelved")


def test_unshelve_goes_through_the_scheduler_with_the_next_epoch_and_drops_its_image(life: Life) -> None:
    life.put(VmState.SHELVED_OFFLOADED)
    life.leave()
    disk = images(life)["vm-shelved"].id
    second = life.fleet.agent("h2")
    life.fleet.scheduler.nudged.clear()
    op = life.ask(Action.UNSHELVE)
    assert op.state is OperationState.SCHEDULING
    life.wait("the scheduler is nudged", lambda: life.fleet.scheduler.nudged == [op.id])
    life.place(op, "h2")
    order = life.order(second)
    assert order.spec is not None
    assert (order.spec.image.id, order.epoch) == (disk, 2)
    assert life.fleet.api.why(CTX, "vm").operation.id == op.id
    life.done(order, second)
    shown = life.show()
    assert (shown.vm_state, shown.host, shown.shelved_image_id) == (VmState.ACTIVE, "h2", "")
    assert list(images(life)) == ["img"]


def test_an_unshelve_waits_for_the_old_host(life: Life) -> None:
    life.put(VmState.SHELVED_OFFLOADED)
    op = life.ask(Action.UNSHELVE)
    assert op.state is OperationState.QUEUED
    assert life.show().task_state == "scheduling"
    life.leave()
    assert life.operation(op).state is OperationState.SCHEDULING
    life.wait("the scheduler is nudged", lambda: op.id in life.fleet.scheduler.nudged)


def test_an_unshelve_that_fails_everywhere_stays_shelved_and_can_be_tried_again(life: Life) -> None:
    life.put(VmState.SHELVED_OFFLOADED)
    life.leave()
    op = life.ask(Action.UNSHELVE)
    life.place(op)
    life.agent.end(life.order(), Outcome.FAILED, clean=True, error=BROKEN)
    shown = life.show()
    assert (shown.vm_state, shown.host) == (VmState.SHELVED_OFFLOADED, "")
    assert shown.fault is not None
    assert shown.fault.code == "DriverError"
    assert "vm-shelved" in images(life)
    again = life.ask(Action.UNSHELVE)
    life.place(again)
    order = life.order()
    assert order.epoch == 3
    life.done(order)
    assert life.show().vm_state is VmState.ACTIVE


def test_a_deleted_shelved_instance_takes_its_image_along(life: Life) -> None:
    life.put(VmState.SHELVED_OFFLOADED)
    assert life.ask(Action.DELETE).state is OperationState.SUCCEEDED
    assert list(images(life)) == ["img"]
    life.leave()
    assert life.show().ports == ()


@pytest.mark.parametrize("action", [Action.SNAPSHOT, Action.SHELVE])
def test_a_delete_takes_the_image_of_what_it_supersedes(life: Life, action: Action) -> None:
    life.ask(action)
    order = life.order()
    life.ask(Action.DELETE)
    assert list(images(life)) == ["img"]
    life.agent.end(order)
    assert life.show().task_state == "deleting", "too late to be shelved"


class TestSoftDelete:
    @pytest.fixture
    def times(self) -> TimeSettings:
        return TimeSettings(join_window_s=0.0, reap_interval_s=0.1, reclaim_instance_interval_s=3600.0)

    def test_a_delete_can_be_taken_back(self, life: Life) -> None:
        op = life.ask(Action.DELETE)
        assert op.action is Action.SOFT_DELETE
        assert life.ask(Action.DELETE).id == op.id
        order = life.order()
        assert order.action is Action.SOFT_DELETE
        life.agent.end(order, power_state=PowerState.SHUTDOWN)
        shown = life.show()
        assert (shown.vm_state, shown.host) == (VmState.SOFT_DELETED, "h1")
        assert shown.soft_deleted_at is not None
        life.ask(Action.RESTORE)
        life.done(life.order())
        shown = life.show()
        assert (shown.vm_state, shown.soft_deleted_at) == (VmState.ACTIVE, None)

    def test_a_second_delete_is_final(self, life: Life) -> None:
        life.put(VmState.SOFT_DELETED)
        assert life.ask(Action.DELETE).action is Action.DELETE
        life.agent.end(life.order(), clean=True)
        assert life.show().vm_state is VmState.DELETED

    def test_force_supersedes_a_soft_delete(self, life: Life) -> None:
        soft = life.ask(Action.DELETE)
        final = life.ask(Action.DELETE, force="true")
        assert final.action is Action.DELETE
        assert life.operation(soft).state is OperationState.CANCELLED
        assert life.ask(Action.DELETE).id == final.id

    def test_it_supersedes_what_runs(self, life: Life) -> None:
        stop = life.ask(Action.STOP)
        assert life.ask(Action.DELETE).action is Action.SOFT_DELETE
        assert life.operation(stop).state is OperationState.CANCELLED

    def test_what_is_in_error_or_building_is_deleted_at_once(self, life: Life) -> None:
        life.put(VmState.ERROR)
        assert life.ask(Action.DELETE).action is Action.DELETE
        life.fleet.create("other", networks=())
        assert life.fleet.api.instance_action(CTX, "other", Action.DELETE, {}).action is Action.DELETE

    def test_it_is_deleted_for_good_when_its_time_is_over(self, life: Life) -> None:
        life.put(VmState.SOFT_DELETED)
        life.change(soft_deleted_at="2020-01-01T00:00:00.000000Z")
        life.wait("a delete begins", lambda: life.show().task_state == "deleting")
        order = life.order()
        assert order.action is Action.DELETE
        op = life.fleet.api.operation_show(CTX, order.operation_id)
        assert (op.user_id, op.project_id) == ("drover", "default")
        life.agent.end(order, clean=True)
        assert life.show().vm_state is VmState.DELETED

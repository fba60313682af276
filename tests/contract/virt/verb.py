"""What every virt driver does with a guest that is there: pause, suspend, rescue, snapshot, a fresh disk.

Beside :class:`tests.contract.virt.suite.DriverContract`, for the same harness.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from agent.virt.driver import CancelToken, PowerEvent
from drover import errors
from drover.objects.guest import GuestSpec, GuestState
from drover.states import PowerState
from tests.contract.virt.harness import Cancelled, CancelledMeanwhile, Died, Harness, Mortal, NeverCancelled
from tests.contract.virt.spec import some_uuid
from tests.contract.virt.suite import (
    PATIENCE_S,
    build,
    power_of,
    preparation,
    wait_for_boot,
    wait_for_event,
    wait_for_marker,
)

__all__ = ["VerbContract"]

RUNNING, PAUSED, OFF = PowerState.RUNNING, PowerState.PAUSED, PowerState.SHUTDOWN
NEVER = NeverCancelled()


class VerbContract:
    """The suite."""

    # pause

    def test_pause_and_unpause_each_twice(self, harness: Harness) -> None:
        spec = up(harness)
        for _ in range(2):
            harness.driver.pause(spec.uuid)
            assert power_of(harness, spec) is PAUSED
        for _ in range(2):
            harness.driver.unpause(spec.uuid)
            assert power_of(harness, spec) is RUNNING
        assert boots(harness, spec) == 1

    def test_pause_tells_its_listeners(self, harness: Harness) -> None:
        events: queue.Queue[PowerEvent] = queue.Queue()
        spec = up(harness)
        harness.driver.subscribe(events.put)
        harness.driver.pause(spec.uuid)
        wait_for_event(events, spec, PAUSED)
        harness.driver.unpause(spec.uuid)
        wait_for_event(events, spec, RUNNING)

    def test_a_paused_guest_survives_the_driver(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.pause(spec.uuid)
        harness.restart()
        assert power_of(harness, spec) is PAUSED

    def test_a_guest_that_is_off_has_no_processors_to_stop_or_go_on(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.stop(spec.uuid, 0, NEVER)
        for verb in (harness.driver.pause, harness.driver.unpause):
            with pytest.raises(errors.GuestConflict):
                verb(spec.uuid)
            with pytest.raises(errors.GuestNotFound):
                verb(some_uuid(5))

    def test_start_of_a_paused_guest_goes_on(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.pause(spec.uuid)
        harness.driver.start(spec.uuid)
        assert power_of(harness, spec) is RUNNING
        assert boots(harness, spec) == 1

    def test_stop_of_a_paused_guest_cuts_its_power(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.pause(spec.uuid)
        harness.driver.stop(spec.uuid, 3600.0, NEVER)
        assert power_of(harness, spec) is OFF

    @pytest.mark.parametrize("hard", [True, False])
    def test_reboot_of_a_paused_guest(self, harness: Harness, hard: bool) -> None:
        spec = up(harness)
        harness.driver.pause(spec.uuid)
        harness.driver.reboot(spec.uuid, "op-2", hard=hard)
        wait_for_boot(harness, spec, 2)
        guest = state(harness, spec)
        assert (guest.power_state, guest.operation_id) == (RUNNING, "op-2")

    # suspend

    def test_suspend_twice_and_resume_twice(self, harness: Harness) -> None:
        spec = up(harness)
        for _ in range(2):
            harness.driver.suspend(spec.uuid, NEVER)
            assert (state(harness, spec).power_state, state(harness, spec).saved) == (OFF, True)
        assert state(harness, spec) in harness.driver.list_guests()
        for _ in range(2):
            harness.driver.start(spec.uuid)
            assert (state(harness, spec).power_state, state(harness, spec).saved) == (RUNNING, False)
        assert boots(harness, spec) == 1  # it went on where it was

    def test_a_suspended_guest_survives_the_driver(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.suspend(spec.uuid, NEVER)
        harness.restart()
        assert state(harness, spec).saved
        harness.driver.start(spec.uuid)
        assert boots(harness, spec) == 1

    def test_a_guest_that_was_suspended_while_paused_runs_when_it_is_started(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.pause(spec.uuid)
        harness.driver.suspend(spec.uuid, NEVER)
        assert state(harness, spec).saved
        harness.driver.start(spec.uuid)
        assert power_of(harness, spec) is RUNNING
        assert boots(harness, spec) == 1

    def test_suspend_of_what_has_no_memory(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.stop(spec.uuid, 0, NEVER)
        with pytest.raises(errors.GuestConflict):
            harness.driver.suspend(spec.uuid, NEVER)
        with pytest.raises(errors.GuestNotFound):
            harness.driver.suspend(some_uuid(5), NEVER)

    @pytest.mark.parametrize("timeout_s", [0.0, 30.0])
    def test_stop_of_a_suspended_guest_forgets_its_memory(self, harness: Harness, timeout_s: float) -> None:
        spec = up(harness)
        harness.driver.suspend(spec.uuid, NEVER)
        harness.driver.stop(spec.uuid, timeout_s, NEVER)
        assert (state(harness, spec).power_state, state(harness, spec).saved) == (OFF, False)
        harness.driver.start(spec.uuid)
        wait_for_boot(harness, spec, 2)

    @pytest.mark.parametrize("hard", [True, False])
    def test_reboot_of_a_suspended_guest_forgets_its_memory(self, harness: Harness, hard: bool) -> None:
        spec = up(harness)
        harness.driver.suspend(spec.uuid, NEVER)
        harness.driver.reboot(spec.uuid, "op-2", hard=hard)
        wait_for_boot(harness, spec, 2)
        guest = state(harness, spec)
        assert (guest.power_state, guest.saved, guest.operation_id) == (RUNNING, False, "op-2")

    def test_remove_of_a_suspended_guest(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.suspend(spec.uuid, NEVER)
        assert harness.leftovers(spec.uuid)
        harness.driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []

    def test_a_cancelled_suspend_lets_the_guest_run_on(self, harness: Harness) -> None:
        spec = up(harness)
        with pytest.raises(errors.OperationCancelled):
            harness.driver.suspend(spec.uuid, Cancelled())
        assert (state(harness, spec).power_state, state(harness, spec).saved) == (RUNNING, False)

    def test_a_suspend_cancelled_in_the_middle_lets_the_guest_run_on(self, harness: Harness) -> None:
        spec = heavy(harness)
        harness.hold()
        with pytest.raises(errors.OperationCancelled):
            harness.driver.suspend(spec.uuid, CancelledMeanwhile(harness.release))
        assert (state(harness, spec).power_state, state(harness, spec).saved) == (RUNNING, False)
        assert boots(harness, spec) == 1
        harness.driver.suspend(spec.uuid, NEVER)
        assert state(harness, spec).saved

    @pytest.mark.parametrize("verb", ["suspend", "start", "unpause", "pause"])
    def test_after_a_death_in_the_middle_of_a_suspend(self, harness: Harness, verb: str) -> None:
        spec = heavy(harness)
        harness.hold()
        die_in(lambda token: harness.driver.suspend(spec.uuid, token))
        driver = harness.restart()
        threading.Timer(0.5, harness.release).start()
        verbs: dict[str, Callable[[], None]] = {
            "suspend": lambda: driver.suspend(spec.uuid, NEVER),
            "start": lambda: driver.start(spec.uuid),
            "unpause": lambda: driver.unpause(spec.uuid),
            "pause": lambda: driver.pause(spec.uuid),
        }
        verbs[verb]()
        expected = {"suspend": (OFF, True), "pause": (PAUSED, False)}.get(verb, (RUNNING, False))
        assert (state(harness, spec).power_state, state(harness, spec).saved) == expected
        assert boots(harness, spec) == 1

    # disks

    def test_replace_disk_twice(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.stop(spec.uuid, 0, NEVER)
        for _ in range(2):
            harness.driver.replace_disk(spec, harness.other_image_path, NEVER)
            assert harness.disk_image(spec.uuid) == harness.other_image_path
        harness.driver.create_disk(spec, harness.image_path, NEVER)  # one that is there stays
        assert harness.disk_image(spec.uuid) == harness.other_image_path
        harness.driver.start(spec.uuid)
        wait_for_marker(harness, spec, harness.other_marker)

    def test_replace_disk_of_a_guest_that_never_was(self, harness: Harness) -> None:
        spec = harness.make_spec()
        harness.driver.replace_disk(spec, harness.other_image_path, NEVER)
        assert harness.disk_image(spec.uuid) == harness.other_image_path

    @pytest.mark.parametrize("how", ["running", "paused", "suspended"])
    def test_replace_disk_refuses_a_disk_in_use(self, harness: Harness, how: str) -> None:
        spec = up(harness)
        bring(harness, spec, how)
        with pytest.raises(errors.GuestConflict):
            harness.driver.replace_disk(spec, harness.other_image_path, NEVER)
        assert harness.disk_image(spec.uuid) == harness.image_path

    def test_a_cancelled_replace_disk_leaves_the_old_one(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.stop(spec.uuid, 0, NEVER)
        with pytest.raises(errors.OperationCancelled):
            harness.driver.replace_disk(spec, harness.other_image_path, Cancelled())
        assert harness.disk_image(spec.uuid) == harness.image_path
        harness.driver.start(spec.uuid)
        wait_for_boot(harness, spec, 2)

    # rescue

    def test_rescue_and_back_each_step_twice(self, harness: Harness) -> None:
        spec, driver = up(harness), harness.driver
        digest = state(harness, spec).spec_digest
        driver.stop(spec.uuid, 0, NEVER)
        for _ in range(2):
            driver.create_rescue_disk(spec, harness.other_image_path, NEVER)
        for _ in range(2):
            driver.define(spec, "op-2", rescue=True)
        guest = state(harness, spec)
        assert (guest.rescue, guest.operation_id, guest.spec_digest) == (True, "op-2", digest)
        for _ in range(2):
            driver.start(spec.uuid)
        wait_for_marker(harness, spec, harness.other_marker)
        harness.restart()
        assert (state(harness, spec).rescue, state(harness, spec).power_state) == (True, RUNNING)
        assert state(harness, spec) in harness.driver.list_guests()
        harness.driver.stop(spec.uuid, 0, NEVER)
        for _ in range(2):
            harness.driver.define(spec, "op-3")
        assert harness.rescue_disks(spec.uuid) == []
        assert not state(harness, spec).rescue
        before = harness.driver.console_log(spec.uuid, 100_000)
        harness.driver.start(spec.uuid)
        wait_for_boot(harness, spec, before.count(harness.boot_marker) + 1)
        assert harness.disk_image(spec.uuid) == harness.image_path

    def test_a_rescue_counts_from_the_next_start_on(self, harness: Harness) -> None:
        spec, driver = up(harness), harness.driver
        driver.create_rescue_disk(spec, harness.other_image_path, NEVER)
        driver.define(spec, "op-2", rescue=True)
        assert (state(harness, spec).rescue, state(harness, spec).operation_id) == (False, "op-1")
        harness.cut_power(spec.uuid)
        assert (state(harness, spec).rescue, state(harness, spec).operation_id) == (True, "op-2")

    def test_a_hard_reboot_stays_in_rescue(self, harness: Harness) -> None:
        spec = up(harness)
        rescue(harness, spec)
        harness.driver.reboot(spec.uuid, "op-3", hard=True)
        assert (state(harness, spec).rescue, state(harness, spec).power_state) == (True, RUNNING)

    def test_a_cancelled_rescue_disk(self, harness: Harness) -> None:
        spec = up(harness)
        with pytest.raises(errors.OperationCancelled):
            harness.driver.create_rescue_disk(spec, harness.other_image_path, Cancelled())
        assert harness.rescue_disks(spec.uuid) == []

    def test_discard_rescue_disk_keeps_what_is_booted_from(self, harness: Harness) -> None:
        spec, driver = up(harness), harness.driver
        driver.create_rescue_disk(spec, harness.other_image_path, NEVER)
        for _ in range(2):
            driver.discard_rescue_disk(spec.uuid)
            assert harness.rescue_disks(spec.uuid) == []
        driver.create_rescue_disk(spec, harness.other_image_path, NEVER)
        driver.define(spec, "op-2", rescue=True)  # from its next start on
        kept = harness.rescue_disks(spec.uuid)
        driver.discard_rescue_disk(spec.uuid)
        driver.stop(spec.uuid, 0, NEVER)
        driver.discard_rescue_disk(spec.uuid)
        driver.start(spec.uuid)
        driver.discard_rescue_disk(spec.uuid)
        assert harness.rescue_disks(spec.uuid) == kept != []
        driver.discard_rescue_disk(some_uuid(5))

    def test_remove_in_rescue(self, harness: Harness) -> None:
        spec = up(harness)
        rescue(harness, spec)
        harness.driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []

    # snapshots

    @pytest.mark.parametrize("how", ["running", "paused", "off", "suspended"])
    def test_snapshot_leaves_the_guest_as_it_is(self, harness: Harness, how: str) -> None:
        spec = up(harness)
        bring(harness, spec, how)
        before = state(harness, spec)
        for _ in range(2):
            snapshot = harness.driver.snapshot(spec.uuid, "op-7", NEVER)
            assert (snapshot.format, snapshot.quiesced) == ("qcow2", False)
            assert snapshot.virtual_size_bytes == 1024 * 1024
            assert len(harness.snapshots(spec.uuid)) == 1
        assert state(harness, spec) == before
        assert boots(harness, spec) == 1
        for _ in range(2):
            harness.driver.discard_snapshot(spec.uuid, "op-7")
            assert harness.snapshots(spec.uuid) == []

    def test_snapshots_of_other_names_stay(self, harness: Harness) -> None:
        spec = up(harness)
        first = harness.driver.snapshot(spec.uuid, "op-7", NEVER)
        second = harness.driver.snapshot(spec.uuid, "op-8", NEVER)
        assert first.path != second.path
        harness.driver.discard_snapshot(spec.uuid, "op-7")
        assert len(harness.snapshots(spec.uuid)) == 1

    def test_snapshot_of_nothing(self, harness: Harness) -> None:
        with pytest.raises(errors.GuestNotFound):
            harness.driver.snapshot(some_uuid(5), "op-7", NEVER)
        harness.driver.discard_snapshot(some_uuid(5), "op-7")

    @pytest.mark.parametrize("how", ["running", "paused", "off"])
    def test_a_snapshot_cancelled_in_the_middle_leaves_nothing(self, harness: Harness, how: str) -> None:
        spec = heavy(harness)
        bring(harness, spec, how)
        before = state(harness, spec)
        harness.hold()
        with pytest.raises(errors.OperationCancelled):
            harness.driver.snapshot(spec.uuid, "op-7", CancelledMeanwhile(harness.release))
        harness.release()
        assert harness.snapshots(spec.uuid) == []
        assert state(harness, spec) == before
        harness.driver.snapshot(spec.uuid, "op-8", NEVER)

    def test_a_snapshot_again_after_a_death_in_the_middle(self, harness: Harness) -> None:
        spec = heavy(harness)
        harness.hold()
        die_in(lambda token: harness.driver.snapshot(spec.uuid, "op-7", token))
        assert harness.snapshots(spec.uuid)
        harness.restart()
        harness.release()
        harness.driver.snapshot(spec.uuid, "op-7", NEVER)
        assert len(harness.snapshots(spec.uuid)) == 1
        assert power_of(harness, spec) is RUNNING

    def test_discard_after_a_death_in_the_middle(self, harness: Harness) -> None:
        spec = heavy(harness)
        harness.hold()
        die_in(lambda token: harness.driver.snapshot(spec.uuid, "op-7", token))
        driver = harness.restart()
        threading.Timer(0.5, harness.release).start()
        driver.discard_snapshot(spec.uuid, "op-7")
        assert harness.snapshots(spec.uuid) == []
        assert power_of(harness, spec) is RUNNING

    def test_remove_takes_snapshots_away(self, harness: Harness) -> None:
        spec = up(harness)
        harness.driver.snapshot(spec.uuid, "op-7", NEVER)
        harness.driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []

    def test_remove_ends_a_snapshot_in_the_middle(self, harness: Harness) -> None:
        spec = heavy(harness)
        harness.hold()
        die_in(lambda token: harness.driver.snapshot(spec.uuid, "op-7", token))
        driver = harness.restart()
        threading.Timer(0.5, harness.release).start()
        driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []

    # diagnostics

    def test_diagnostics(self, harness: Harness) -> None:
        spec = up(harness)
        told = harness.driver.diagnostics(spec.uuid)
        assert (told.instance_uuid, told.power_state, told.memory_mib) == (spec.uuid, RUNNING, spec.memory_mib)
        assert told.hypervisor
        assert len(told.cpu_time_s) == spec.vcpus
        assert told.memory_rss_mib > 0
        assert told.disks[0]["device"] == "vda"
        assert not told.guest_agent
        harness.driver.stop(spec.uuid, 0, NEVER)
        told = harness.driver.diagnostics(spec.uuid)
        assert (told.power_state, told.memory_mib, told.uptime_s) == (OFF, spec.memory_mib, None)
        assert (told.cpu_time_s, told.disks) == ((), ())
        with pytest.raises(errors.GuestNotFound):
            harness.driver.diagnostics(some_uuid(5))


def up(harness: Harness) -> GuestSpec:
    """A guest that has booted."""
    spec = harness.make_spec()
    build(harness, spec, "op-1")
    wait_for_boot(harness, spec, 1)
    return spec


def heavy(harness: Harness) -> GuestSpec:
    """One that :meth:`Harness.hold` can hold up."""
    spec = harness.make_spec()
    for step in preparation(harness, spec, "op-1"):
        step()
    harness.make_heavy(spec)
    harness.driver.start(spec.uuid)
    wait_for_boot(harness, spec, 1)
    return spec


def bring(harness: Harness, spec: GuestSpec, how: str) -> None:
    """A running guest into another state."""
    if how == "paused":
        harness.driver.pause(spec.uuid)
    elif how == "off":
        harness.driver.stop(spec.uuid, 0, NEVER)
    elif how == "suspended":
        harness.driver.suspend(spec.uuid, NEVER)


def rescue(harness: Harness, spec: GuestSpec) -> None:
    harness.driver.stop(spec.uuid, 0, NEVER)
    harness.driver.create_rescue_disk(spec, harness.other_image_path, NEVER)
    harness.driver.define(spec, "op-2", rescue=True)
    harness.driver.start(spec.uuid)


def die_in(work: Callable[[CancelToken], object]) -> None:
    """Begin *work* and kill its agent in the middle."""
    token = Mortal()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            work(token)
        except Died as exc:
            ended.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    assert token.looked.wait(PATIENCE_S)
    token.kill()
    thread.join(PATIENCE_S)
    assert ended, "it was done before it could be killed"


def state(harness: Harness, spec: GuestSpec) -> GuestState:
    guest = harness.driver.get_guest(spec.uuid)
    assert guest is not None
    return guest


def boots(harness: Harness, spec: GuestSpec) -> int:
    return harness.driver.console_log(spec.uuid, 100_000).count(harness.boot_marker)

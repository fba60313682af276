"""What every virt driver does: each sentence of :mod:`agent.virt.driver`, tried on a real or a fake hypervisor.

A driver's tests subclass :class:`DriverContract` and give a ``harness`` fixture.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.virt.driver import PowerEvent
from drover import errors
from drover.objects.guest import GuestClass, GuestSpec
from drover.states import PowerState
from tests.contract.virt.harness import Cancelled, Harness, NeverCancelled
from tests.contract.virt.spec import DEPLOYMENT, some_uuid

__all__ = ["Cancelled", "DriverContract", "Harness", "NeverCancelled"]

PATIENCE_S = 60.0


class DriverContract:
    """The suite."""

    # whole lives

    def test_build_to_running(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        guest = harness.driver.get_guest(spec.uuid)
        assert guest is not None
        assert (guest.uuid, guest.kind, guest.epoch) == (spec.uuid, GuestClass.OURS, 1)
        assert (guest.power_state, guest.operation_id) == (PowerState.RUNNING, "op-1")
        assert guest.spec_digest
        assert guest in harness.driver.list_guests()

    def test_every_method_twice(self, harness: Harness) -> None:
        spec, driver = harness.make_spec(), harness.driver
        for _ in range(2):
            driver.create_disk(spec, harness.image_path, NeverCancelled())
            driver.create_network(spec)
            driver.create_config(spec)
        for _ in range(2):
            driver.define(spec, "op-1")
        for _ in range(2):
            driver.start(spec.uuid)
        assert power_of(harness, spec) is PowerState.RUNNING
        for _ in range(2):
            driver.reboot(spec.uuid, "op-2", hard=True)
        assert power_of(harness, spec) is PowerState.RUNNING
        for _ in range(2):
            driver.stop(spec.uuid, 0, NeverCancelled())
        assert power_of(harness, spec) is PowerState.SHUTDOWN
        for _ in range(2):
            driver.remove(spec.uuid, 1)
        assert driver.get_guest(spec.uuid) is None
        assert harness.leftovers(spec.uuid) == []

    def test_build_again_over_a_running_guest_does_not_disturb_it(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        wait_for_marker(harness, spec)
        log = harness.driver.console_log(spec.uuid, 4096)
        build(harness, spec, "op-1")
        assert power_of(harness, spec) is PowerState.RUNNING
        assert harness.driver.console_log(spec.uuid, 4096).count(harness.boot_marker) == log.count(harness.boot_marker)

    def test_guests_survive_the_driver(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        harness.driver.close()
        driver = harness.restart()
        guest = driver.get_guest(spec.uuid)
        assert guest is not None
        assert (guest.power_state, guest.epoch, guest.operation_id) == (PowerState.RUNNING, 1, "op-1")

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
    def test_half_built_guests_are_built_on_after_a_crash(self, harness: Harness, steps: int) -> None:
        spec = harness.make_spec()
        for step in preparation(harness, spec, "op-1")[:steps]:
            step()
        harness.restart()
        build(harness, spec, "op-1")
        assert power_of(harness, spec) is PowerState.RUNNING

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
    def test_half_built_guests_are_removed_after_a_crash(self, harness: Harness, steps: int) -> None:
        spec = harness.make_spec()
        for step in preparation(harness, spec, "op-1")[:steps]:
            step()
        harness.restart()
        harness.driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []
        assert harness.driver.get_guest(spec.uuid) is None

    def test_files_without_a_domain_are_told(self, harness: Harness) -> None:
        spec, other = harness.make_spec(), harness.make_spec(71)
        preparation(harness, spec, "op-1")[0]()
        assert harness.driver.list_remains(()) == [(spec.uuid, 1)]
        assert harness.driver.list_remains({spec.uuid}) == []
        assert harness.driver.get_guest(spec.uuid) is None
        build(harness, other, "op-2")
        assert (spec.uuid, 1) in harness.driver.list_remains({other.uuid})
        harness.driver.remove(spec.uuid, 1)
        assert harness.driver.list_remains({other.uuid}) == []

    # inventory, lists

    def test_inventory(self, harness: Harness) -> None:
        inventory = harness.driver.inventory()
        assert inventory.vcpus > 0
        assert inventory.memory_mib > 0
        assert inventory.virt_types
        assert inventory.driver

    def test_foreign_domains_are_listed_as_such(self, harness: Harness) -> None:
        harness.plant_foreign(some_uuid(70), "not-drovers", running=True)
        [guest] = [g for g in harness.driver.list_guests() if g.uuid == some_uuid(70)]
        assert (guest.kind, guest.name, guest.power_state) == (GuestClass.FOREIGN, "not-drovers", PowerState.RUNNING)
        assert harness.driver.get_guest(some_uuid(70)) is None

    def test_nothing_is_ours_before_the_deployment_is_known(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        driver = harness.restart(deployment_id="")
        assert driver.get_guest(spec.uuid) is None
        assert {g.kind for g in driver.list_guests() if g.uuid == spec.uuid} == {GuestClass.FOREIGN}
        driver.set_deployment(DEPLOYMENT)
        assert driver.get_guest(spec.uuid) is not None

    def test_guests_of_another_deployment_are_foreign(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        driver = harness.restart(deployment_id=some_uuid(71))
        assert driver.get_guest(spec.uuid) is None
        before = harness.fingerprint(spec.uuid)
        with pytest.raises(errors.GuestConflict):
            driver.remove(spec.uuid, 9)
        assert harness.fingerprint(spec.uuid) == before

    # define

    def test_define_leaves_a_running_guest_running(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        harness.driver.define(spec, "op-2")
        guest = harness.driver.get_guest(spec.uuid)
        assert guest is not None
        assert guest.power_state is PowerState.RUNNING

    def test_define_refuses_an_active_guest_of_another_epoch(self, harness: Harness) -> None:
        old = harness.make_spec(epoch=1)
        build(harness, old, "op-1")
        before = harness.fingerprint(old.uuid)
        with pytest.raises(errors.GuestConflict):
            harness.driver.define(harness.make_spec(epoch=2), "op-2")
        assert harness.fingerprint(old.uuid) == before

    def test_define_replaces_an_older_guest_that_is_off(self, harness: Harness) -> None:
        old = harness.make_spec(epoch=1)
        build(harness, old, "op-1")
        harness.driver.stop(old.uuid, 0, NeverCancelled())
        new = harness.make_spec(epoch=2)
        build(harness, new, "op-2")
        guest = harness.driver.get_guest(new.uuid)
        assert guest is not None
        assert (guest.epoch, guest.power_state, guest.operation_id) == (2, PowerState.RUNNING, "op-2")
        harness.driver.remove(new.uuid, 2)
        assert harness.leftovers(new.uuid) == []

    def test_define_refuses_a_foreign_uuid(self, harness: Harness) -> None:
        spec = harness.make_spec()
        harness.plant_foreign(spec.uuid, "not-drovers", running=False)
        before = harness.fingerprint(spec.uuid)
        with pytest.raises(errors.GuestConflict):
            harness.driver.define(spec, "op-1")
        assert harness.fingerprint(spec.uuid) == before

    def test_define_refuses_a_foreign_name(self, harness: Harness) -> None:
        spec = harness.make_spec()
        harness.plant_foreign(some_uuid(72), harness.domain_name(spec), running=False)
        before = harness.fingerprint(some_uuid(72))
        with pytest.raises(errors.GuestConflict):
            harness.driver.define(spec, "op-1")
        assert harness.fingerprint(some_uuid(72)) == before

    # power

    def test_start_of_nothing(self, harness: Harness) -> None:
        with pytest.raises(errors.GuestNotFound):
            harness.driver.start(some_uuid(5))

    def test_start_of_a_foreign_guest(self, harness: Harness) -> None:
        harness.plant_foreign(some_uuid(70), "not-drovers", running=False)
        with pytest.raises(errors.GuestNotFound):
            harness.driver.start(some_uuid(70))

    def test_stop_asks_first(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        wait_for_marker(harness, spec)
        harness.driver.stop(spec.uuid, 30.0, NeverCancelled())
        assert power_of(harness, spec) is PowerState.SHUTDOWN

    def test_stop_cuts_the_power_of_a_guest_that_does_not_obey(self, harness: Harness) -> None:
        spec = harness.make_spec(obedient=False)
        build(harness, spec, "op-1")
        harness.driver.stop(spec.uuid, 0.5, NeverCancelled())
        assert power_of(harness, spec) is PowerState.SHUTDOWN

    def test_stop_gives_up_when_cancelled(self, harness: Harness) -> None:
        spec = harness.make_spec(obedient=False)
        build(harness, spec, "op-1")
        with pytest.raises(errors.OperationCancelled):
            harness.driver.stop(spec.uuid, 3600.0, Cancelled())

    @pytest.mark.parametrize("hard", [False, True])
    def test_reboot_stamps_and_ends_running(self, harness: Harness, hard: bool) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        wait_for_marker(harness, spec)
        harness.driver.reboot(spec.uuid, "op-2", hard=hard)
        guest = harness.driver.get_guest(spec.uuid)
        assert guest is not None
        assert (guest.power_state, guest.operation_id, guest.epoch) == (PowerState.RUNNING, "op-2", 1)

    def test_reboot_of_a_guest_that_is_off(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        harness.driver.stop(spec.uuid, 0, NeverCancelled())
        harness.driver.reboot(spec.uuid, "op-2", hard=True)
        assert power_of(harness, spec) is PowerState.RUNNING

    def test_reboot_of_nothing(self, harness: Harness) -> None:
        with pytest.raises(errors.GuestNotFound):
            harness.driver.reboot(some_uuid(5), "op-2", hard=True)

    def test_a_guest_whose_process_died_starts_again(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        harness.cut_power(spec.uuid)
        assert power_of(harness, spec) in (PowerState.SHUTDOWN, PowerState.CRASHED)
        harness.driver.start(spec.uuid)
        assert power_of(harness, spec) is PowerState.RUNNING

    # remove

    def test_remove_of_nothing(self, harness: Harness) -> None:
        harness.driver.remove(some_uuid(5), 3)
        assert harness.leftovers(some_uuid(5)) == []

    def test_remove_of_a_running_guest(self, harness: Harness) -> None:
        spec, other = harness.make_spec(1), harness.make_spec(2)
        build(harness, spec, "op-1")
        build(harness, other, "op-2")
        harness.driver.remove(spec.uuid, 4)
        assert harness.leftovers(spec.uuid) == []
        assert power_of(harness, other) is PowerState.RUNNING

    def test_remove_leaves_a_later_epoch_alone(self, harness: Harness) -> None:
        spec = harness.make_spec(epoch=2)
        build(harness, spec, "op-1")
        before = harness.fingerprint(spec.uuid)
        with pytest.raises(errors.GuestConflict):
            harness.driver.remove(spec.uuid, 1)
        assert harness.fingerprint(spec.uuid) == before
        assert power_of(harness, spec) is PowerState.RUNNING

    @pytest.mark.parametrize("running", [False, True])
    def test_remove_leaves_foreign_guests_alone(self, harness: Harness, running: bool) -> None:
        harness.plant_foreign(some_uuid(70), "not-drovers", running=running)
        before = harness.fingerprint(some_uuid(70))
        with pytest.raises(errors.GuestConflict):
            harness.driver.remove(some_uuid(70), 99)
        assert harness.fingerprint(some_uuid(70)) == before

    # stats, console, events

    def test_stats(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        harness.plant_foreign(some_uuid(70), "not-drovers", running=True)
        stats = harness.driver.stats()
        assert set(stats.guests) == {spec.uuid}
        assert stats.guests[spec.uuid].memory_mib == spec.memory_mib
        assert stats.host.memory_total_mib > 0
        assert stats.host.at is not None

    def test_console_log(self, harness: Harness) -> None:
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        wait_for_marker(harness, spec)
        assert len(harness.driver.console_log(spec.uuid, 3)) == 3
        assert harness.driver.console_log(spec.uuid, 100_000).endswith(harness.driver.console_log(spec.uuid, 3))
        with pytest.raises(errors.GuestNotFound):
            harness.driver.console_log(some_uuid(5), 100)

    def test_events(self, harness: Harness) -> None:
        events: queue.Queue[PowerEvent] = queue.Queue()
        harness.driver.subscribe(events.put)
        spec = harness.make_spec()
        build(harness, spec, "op-1")
        wait_for_event(events, spec, PowerState.RUNNING)
        harness.driver.stop(spec.uuid, 0, NeverCancelled())
        wait_for_event(events, spec, PowerState.SHUTDOWN)
        harness.driver.start(spec.uuid)
        wait_for_event(events, spec, PowerState.RUNNING)
        harness.cut_power(spec.uuid)
        wait_for_event(events, spec, PowerState.SHUTDOWN, PowerState.CRASHED)

    def test_cancelled_disk(self, harness: Harness) -> None:
        spec = replace(harness.make_spec(), disk_gib=1)
        with pytest.raises(errors.OperationCancelled):
            harness.driver.create_disk(spec, harness.image_path, Cancelled())
        harness.driver.remove(spec.uuid, 1)
        assert harness.leftovers(spec.uuid) == []


def preparation(harness: Harness, spec: GuestSpec, operation_id: str) -> list[Callable[[], None]]:
    """The steps of a build up to its start."""
    driver = harness.driver
    return [
        lambda: driver.create_disk(spec, harness.image_path, NeverCancelled()),
        lambda: driver.create_network(spec),
        lambda: driver.create_config(spec),
        lambda: driver.define(spec, operation_id),
    ]


def build(harness: Harness, spec: GuestSpec, operation_id: str) -> None:
    for step in preparation(harness, spec, operation_id):
        step()
    harness.driver.start(spec.uuid)


def power_of(harness: Harness, spec: GuestSpec) -> PowerState:
    guest = harness.driver.get_guest(spec.uuid)
    assert guest is not None
    return guest.power_state


def wait_for_marker(harness: Harness, spec: GuestSpec, marker: bytes = b"") -> None:
    """Until the guest has printed that it is up."""
    deadline = time.monotonic() + PATIENCE_S
    while (marker or harness.boot_marker) not in harness.driver.console_log(spec.uuid, 100_000):
        assert time.monotonic() < deadline, f"no marker on the console of {spec.name}"
        time.sleep(0.05)


def wait_for_boot(harness: Harness, spec: GuestSpec, number: int) -> None:
    """Until the guest has booted *number* times, and no more."""
    deadline = time.monotonic() + PATIENCE_S
    while (boots := harness.driver.console_log(spec.uuid, 100_000).count(harness.boot_marker)) < number:
        assert time.monotonic() < deadline, f"only {boots} boots of {spec.name}"
        time.sleep(0.05)
    assert boots == number


def wait_for_event(events: queue.Queue[PowerEvent], spec: GuestSpec, *states: PowerState) -> None:
    """Until an event says one of *states*; others may come before it."""
    while True:
        event = events.get(timeout=PATIENCE_S)
        if event.instance_uuid == spec.uuid and event.power_state in states:
            return

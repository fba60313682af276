"""Suspend on a real libvirt: full disks and a daemon that dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.virt.libvirt.driver import LibvirtDriver
from drover import errors
from drover.objects.guest import GuestSpec, GuestState
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.contract.virt.harness import Cancelled, Mortal
from tests.contract.virt.heavy import HeavyGuests
from tests.guest import UP
from tests.integration.virt.conftest import NeverCancelled
from tests.machine import Machine, wait_until

Build = Callable[..., GuestSpec]

_SAVE = "/var/lib/libvirt/qemu/save"


@pytest.fixture
def heavy(machine: Machine, tmp_path: Path) -> Iterator[HeavyGuests]:
    guests = HeavyGuests(machine, tmp_path)
    yield guests
    guests.close()


def state(driver: LibvirtDriver, spec: GuestSpec) -> GuestState:
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    return guest


def test_a_full_disk_leaves_the_guest_running(
    driver: LibvirtDriver, build: Build, machine: Machine, runtime: ThreadRuntime
) -> None:
    spec = build()
    machine.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", _SAVE])
    try:
        with pytest.raises(errors.DiskFull):
            driver.suspend(spec.uuid, NeverCancelled(runtime))
        assert (state(driver, spec).power_state, state(driver, spec).saved) == (PowerState.RUNNING, False)
        assert machine.run(["ls", _SAVE]) == ""
    finally:
        machine.run(["umount", _SAVE])
    driver.suspend(spec.uuid, NeverCancelled(runtime))
    assert state(driver, spec).saved


def test_a_save_ends_with_libvirtd_and_the_guest_goes_on(
    driver: LibvirtDriver, build: Build, heavy: HeavyGuests, machine: Machine, runtime: ThreadRuntime, tmp_path: Path
) -> None:
    spec = build(start=False)
    heavy.make(tmp_path / "instances" / spec.uuid / "1" / "disk.qcow2")
    driver.start(spec.uuid)
    wait_until(lambda: UP in driver.console_log(spec.uuid, 1 << 16), "the boot")
    heavy.hold()
    token, raised = Mortal(), []

    def suspend() -> None:
        try:
            driver.suspend(spec.uuid, token)
        except errors.DriverUnavailable as exc:
            raised.append(exc)

    task = runtime.spawn("suspend", suspend)
    assert token.looked.wait(60)
    machine.kill_libvirtd()
    heavy.release()
    assert task.join(60)
    assert raised
    machine.start_libvirtd()
    wait_until(lambda: machine.virsh("domstate", spec.uuid).strip() == "running", "the guest to go on")
    # What was saved till then is of the past: it goes, also when nobody wants the guest suspended any more.
    with pytest.raises(errors.OperationCancelled):
        driver.suspend(spec.uuid, Cancelled())
    assert machine.run(["ls", _SAVE]) == ""
    driver.suspend(spec.uuid, NeverCancelled(runtime))
    assert state(driver, spec).saved
    driver.start(spec.uuid)
    assert driver.console_log(spec.uuid, 1 << 16).count(UP) == 1


def test_memory_that_cannot_be_read_back_can_be_given_up(
    driver: LibvirtDriver, build: Build, machine: Machine, runtime: ThreadRuntime
) -> None:
    spec = build()
    wait_until(lambda: UP in driver.console_log(spec.uuid, 1 << 16), "the boot")
    driver.suspend(spec.uuid, NeverCancelled(runtime))
    [saved] = (machine.root / _SAVE.lstrip("/")).glob(f"*{spec.uuid}*")
    saved.write_bytes(saved.read_bytes()[:100_000])
    with pytest.raises(errors.DriverError):
        driver.start(spec.uuid)
    assert state(driver, spec).saved  # kept: it is the user's word that gives it up
    driver.reboot(spec.uuid, "reboot-operation", hard=True)
    wait_until(lambda: driver.console_log(spec.uuid, 1 << 16).count(UP) == 2, "the second boot")

"""A guest's life on a real libvirt."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.driver import PowerEvent
from agent.virt.libvirt.driver import LibvirtDriver
from drover import errors
from drover.objects.guest import GuestClass, GuestSpec
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.guest import BUTTON, UP
from tests.integration.virt.conftest import MakeSpec, NeverCancelled
from tests.machine import Machine, wait_until

Build = Callable[..., GuestSpec]


def boots(driver: LibvirtDriver, spec: GuestSpec) -> int:
    return driver.console_log(spec.uuid, 1 << 16).count(UP)


def wait_boots(driver: LibvirtDriver, spec: GuestSpec, number: int) -> None:
    wait_until(lambda: boots(driver, spec) == number, f"boot {number}")


def test_a_built_guest_runs_and_says_who_it_is(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    spec = build()
    wait_boots(driver, spec, 1)
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert (guest.kind, guest.epoch, guest.power_state) == (GuestClass.OURS, 1, PowerState.RUNNING)
    assert guest.operation_id == "build-operation"
    assert guest.spec_digest
    assert driver.list_guests() == [guest]
    assert f"drover-{spec.uuid}" in machine.virsh("list")
    assert "web-1" in machine.virsh("list", "--title")


def test_every_step_may_be_repeated(driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, image: Path) -> None:
    spec = build()
    wait_boots(driver, spec, 1)
    driver.create_disk(spec, str(image), NeverCancelled(runtime))
    driver.create_network(spec)
    driver.create_config(spec)
    driver.define(spec, "build-operation")
    driver.start(spec.uuid)
    assert boots(driver, spec) == 1
    assert len(driver.list_guests()) == 1


def test_stop_asks_the_guest_then_start_boots_it_again(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime
) -> None:
    events: list[PowerEvent] = []
    driver.subscribe(events.append)
    spec = build()
    wait_boots(driver, spec, 1)
    driver.stop(spec.uuid, 30.0, NeverCancelled(runtime))
    driver.stop(spec.uuid, 30.0, NeverCancelled(runtime))
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.SHUTDOWN
    assert BUTTON in driver.console_log(spec.uuid, 1 << 16)
    driver.start(spec.uuid)
    wait_boots(driver, spec, 2)  # the log of the first boot is still there
    expected = [PowerState.RUNNING, PowerState.SHUTDOWN, PowerState.RUNNING]
    wait_until(lambda: _changes(events) == expected, f"{expected}")
    assert {event.instance_uuid for event in events} == {spec.uuid}


def _changes(events: list[PowerEvent]) -> list[PowerState]:
    states = [event.power_state for event in events]
    return [state for number, state in enumerate(states) if number == 0 or states[number - 1] != state]


def test_stop_cuts_the_power_of_a_guest_that_does_not_obey(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, stubborn_image: Path
) -> None:
    spec = build(source=stubborn_image)
    wait_boots(driver, spec, 1)
    driver.stop(spec.uuid, 1.0, NeverCancelled(runtime))
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.SHUTDOWN


def test_stop_ends_when_it_is_cancelled(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, stubborn_image: Path
) -> None:
    class Cancelled(NeverCancelled):
        def check(self) -> None:
            raise errors.OperationCancelled(reason="test")

    spec = build(source=stubborn_image)
    with pytest.raises(errors.OperationCancelled):
        driver.stop(spec.uuid, 600.0, Cancelled(runtime))
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.RUNNING


def test_soft_reboot_is_done_by_the_guest(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    spec = build()
    wait_boots(driver, spec, 1)
    pid = machine.qemu_pid(f"drover-{spec.uuid}")
    driver.reboot(spec.uuid, "reboot-operation", hard=False)
    wait_boots(driver, spec, 2)
    assert BUTTON in driver.console_log(spec.uuid, 1 << 16)
    assert machine.qemu_pid(f"drover-{spec.uuid}") == pid
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.operation_id == "reboot-operation"
    # The mark is whole after the restamp, live and persistent.
    for flags in ((), ("--inactive",)):
        text = machine.virsh("dumpxml", spec.uuid, *flags)
        assert "<drover:name>web-1</drover:name>" in text
        assert 'operation="reboot-operation"' in text.replace("'", '"')


def test_soft_reboot_falls_back_to_hard(
    make_driver: Callable[..., LibvirtDriver], driver: LibvirtDriver, build: Build, stubborn_image: Path
) -> None:
    hasty = make_driver(soft_reboot_timeout_s=1.0)
    spec = build(source=stubborn_image)
    wait_boots(driver, spec, 1)
    hasty.reboot(spec.uuid, "reboot-operation", hard=False)
    wait_boots(driver, spec, 2)


def test_hard_reboot_cycles_the_power_and_starts_what_is_off(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, machine: Machine
) -> None:
    spec = build()
    wait_boots(driver, spec, 1)
    pid = machine.qemu_pid(f"drover-{spec.uuid}")
    driver.reboot(spec.uuid, "one", hard=True)
    wait_boots(driver, spec, 2)
    assert machine.qemu_pid(f"drover-{spec.uuid}") != pid
    assert BUTTON not in driver.console_log(spec.uuid, 1 << 16)
    driver.stop(spec.uuid, 0.0, NeverCancelled(runtime))
    driver.reboot(spec.uuid, "two", hard=True)
    wait_boots(driver, spec, 3)


def test_a_paused_guest_is_started_by_resuming_it(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    spec = build()
    wait_boots(driver, spec, 1)
    machine.virsh("suspend", spec.uuid)
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.PAUSED
    driver.start(spec.uuid)
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.RUNNING


def test_a_killed_qemu_is_seen_as_crashed(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    events: list[PowerEvent] = []
    driver.subscribe(events.append)
    spec = build()
    machine.run(["kill", "-9", str(machine.qemu_pid(f"drover-{spec.uuid}"))])
    wait_until(lambda: PowerEvent(spec.uuid, PowerState.CRASHED) in events, "the crash")
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.CRASHED


def test_stats_tell_of_the_host_and_of_each_running_guest(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime
) -> None:
    running, off = build(), build(start=False)
    wait_boots(driver, running, 1)
    stats = driver.stats()
    assert list(stats.guests) == [running.uuid]
    usage = stats.guests[running.uuid]
    assert usage.cpu_time_s > 0
    assert usage.memory_mib == 16
    assert usage.memory_rss_mib > 0
    assert usage.disk_read_bytes >= 512
    assert usage.at is not None
    assert stats.host.guests == 1
    assert stats.host.memory_total_mib > stats.host.memory_used_mib > 0
    assert stats.host.disk_total_gib > stats.host.disk_used_gib > 0
    assert off.uuid not in stats.guests


def test_inventory(driver: LibvirtDriver) -> None:
    inventory = driver.inventory()
    assert inventory.vcpus > 0
    assert inventory.memory_mib > 0
    assert inventory.disk_gib > 0
    assert inventory.architecture == "x86_64"
    assert inventory.virt_types == ("qemu",)
    assert inventory.hypervisor.startswith("QEMU ")
    assert "HW_CPU_X86_SSE2" in inventory.traits


def test_remove_leaves_nothing(driver: LibvirtDriver, build: Build, settings: object, tmp_path: Path) -> None:
    running, off = build(), build(start=False)
    wait_boots(driver, running, 1)
    for spec in (running, off, off):
        driver.remove(spec.uuid, spec.epoch)
    assert driver.list_guests() == []
    assert list((tmp_path / "instances").iterdir()) == []


def test_the_disk_is_an_overlay_grown_to_the_flavor(
    driver: LibvirtDriver, build: Build, tmp_path: Path, image: Path
) -> None:
    spec = build(start=False, disk_gib=2)
    disk = tmp_path / "instances" / spec.uuid / "1" / "disk.qcow2"
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", disk]))
    assert info["virtual-size"] == 2 << 30
    assert info["backing-filename"] == str(image)
    assert info["backing-filename-format"] == "raw"
    assert disk.stat().st_mode & 0o777 == 0o600


def test_kvm_is_offered_where_it_works(
    make_driver: Callable[..., LibvirtDriver], driver: LibvirtDriver, make_spec: MakeSpec
) -> None:
    offered = make_driver(virt_type="auto").inventory().virt_types
    assert offered in (("qemu",), ("kvm", "qemu"))
    assert make_driver(virt_type="kvm").inventory().virt_types == ("kvm", "qemu")
    with pytest.raises(errors.VirtTypeUnsupported):
        driver.define(make_spec(virt_type="kvm"), "operation")


def test_a_kvm_guest_runs_when_asked_for(
    make_driver: Callable[..., LibvirtDriver], build: Build, machine: Machine, runtime: ThreadRuntime
) -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("no /dev/kvm")
    trusting = make_driver(virt_type="kvm", cpu_mode="none", vnc=False)
    spec = build(start=False, virt_type="qemu")
    for virt_type in ("kvm", ""):
        trusting.define(replace(spec, virt_type=virt_type), "operation")
        assert '<domain type="kvm"' in machine.virsh("dumpxml", spec.uuid).replace("'", '"')
    trusting.start(spec.uuid)
    # Nested KVM takes its time: many seconds instead of a tenth of one.
    wait_until(lambda: boots(trusting, spec) == 1, "the boot", 240.0)
    trusting.stop(spec.uuid, 0.0, NeverCancelled(runtime))

"""Guests on real libvirt run where their claims say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.hardware import GivenOut
from drover.objects.guest import GuestSpec
from drover.objects.hardware import CellClaim, HardwareClaim
from drover.runtime.threads import ThreadRuntime
from tests.contract.virt.suite import NeverCancelled, build
from tests.contract.virt.test_libvirt import LibvirtHarness
from tests.machine import Machine

#: the machine's last CPU is for dedicated use, the others are shared
CPUS = sorted(os.sched_getaffinity(0))
DEDICATED, SHARED = CPUS[-1], CPUS[:-1]


@pytest.fixture
def harness(machine: Machine, runtime: ThreadRuntime, tmp_path: Path) -> Iterator[LibvirtHarness]:
    if not SHARED:
        pytest.skip("a machine of one CPU has none to dedicate")
    made = LibvirtHarness(machine, runtime, tmp_path)
    made.given_out = GivenOut(cpus=frozenset({DEDICATED}))
    made.restart()
    yield made
    made.clear()


def pinned(harness: LibvirtHarness) -> GuestSpec:
    spec = harness.make_spec()
    cell = harness.driver.inventory().hardware.cells[0]
    claim = CellClaim(cell=cell.id, vcpus=1, memory_mib=spec.memory_mib, cpus=(DEDICATED,))
    return replace(spec, hardware=HardwareClaim(cells=(claim,)))


def affinities(machine: Machine, spec: GuestSpec) -> set[frozenset[int]]:
    """Where the kernel lets the threads of a guest's QEMU run."""
    pid = machine.qemu_pid(f"drover-{spec.uuid}")
    code = (
        "import os, sys; pid = sys.argv[1]\n"
        "for task in os.listdir(f'/proc/{pid}/task'): print(*os.sched_getaffinity(int(task)))"
    )
    return {frozenset(map(int, line.split())) for line in machine.python(code, str(pid)).splitlines()}


def test_the_inventory_has_the_cpus_of_the_machine(harness: LibvirtHarness) -> None:
    cells = harness.driver.inventory().hardware.cells
    assert set(CPUS) <= {cpu for cell in cells for cpu in cell.cpus}
    assert all(cell.memory_mib > 0 for cell in cells)
    assert sorted(cpu for cell in cells for core in cell.cores for cpu in core) == sorted(
        cpu for cell in cells for cpu in cell.cpus
    )


def test_devices_are_listed_where_some_are_to_be_given_out(harness: LibvirtHarness) -> None:
    assert harness.driver.inventory().hardware.devices == ()
    harness.given_out = GivenOut(devices=frozenset({"8086:*"}))
    on_the_bus = Path("/sys/bus/pci/devices")
    found = harness.restart().inventory().hardware.devices
    assert {device.address for device in found} <= {path.name for path in on_the_bus.iterdir()}


def test_a_pinned_guest_runs_on_its_cpu_and_stays_there(harness: LibvirtHarness, machine: Machine) -> None:
    spec = pinned(harness)
    build(harness, spec, "op-1")
    assert affinities(machine, spec) == {frozenset({DEDICATED})}
    lines = machine.virsh("vcpupin", spec.uuid).split()
    assert lines[-2:] == ["0", str(DEDICATED)]
    harness.driver.reboot(spec.uuid, "op-2", hard=True)
    assert affinities(machine, spec) == {frozenset({DEDICATED})}
    harness.driver.stop(spec.uuid, 0, NeverCancelled())
    harness.driver.define(spec, "op-3")
    harness.driver.start(spec.uuid)
    assert affinities(machine, spec) == {frozenset({DEDICATED})}


def test_other_guests_stay_off_dedicated_cpus(harness: LibvirtHarness, machine: Machine) -> None:
    spec = harness.make_spec()
    build(harness, spec, "op-1")
    where = affinities(machine, spec)
    assert where == {frozenset(SHARED)}


def test_a_guest_in_a_cell_shares_the_cpus_of_the_cell(harness: LibvirtHarness, machine: Machine) -> None:
    spec = pinned(harness)
    cell = replace(spec.hardware.cells[0], cpus=())
    build(harness, replace(spec, hardware=HardwareClaim(cells=(cell,))), "op-1")
    assert affinities(machine, spec) == {frozenset(SHARED)}

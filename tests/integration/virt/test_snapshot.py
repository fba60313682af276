"""Snapshots on a real QEMU: what is in them, and what happens when something dies while it copies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.libvirt.disk import Disks
from agent.virt.libvirt.driver import LibvirtDriver
from drover import errors
from drover.objects.guest import GuestSpec
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.contract.virt.harness import Mortal
from tests.contract.virt.heavy import HeavyGuests
from tests.guest import UP, write_image
from tests.integration.virt.conftest import NeverCancelled, tiny_spec
from tests.integration.virt.inside import inner_driver
from tests.machine import Machine, wait_until

Build = Callable[..., GuestSpec]


@pytest.fixture
def heavy(machine: Machine, tmp_path: Path) -> Iterator[HeavyGuests]:
    guests = HeavyGuests(machine, tmp_path)
    yield guests
    guests.close()


@pytest.fixture
def heavy_spec(driver: LibvirtDriver, build: Build, heavy: HeavyGuests, tmp_path: Path) -> GuestSpec:
    """A running guest whose disk can be held up."""
    spec = build(start=False)
    heavy.make(disk_of(tmp_path, spec))
    driver.start(spec.uuid)
    wait_until(lambda: UP in driver.console_log(spec.uuid, 1 << 16), "the boot")  # it reads no more
    return spec


def disk_of(tmp_path: Path, spec: GuestSpec, name: str = "disk") -> Path:
    return tmp_path / "instances" / spec.uuid / "1" / f"{name}.qcow2"


def same(one: str | Path, other: str | Path) -> bool:
    """Whether two disks have the same content."""
    return subprocess.run(["qemu-img", "compare", "-q", "-U", one, other], check=False).returncode == 0


def power_of(driver: LibvirtDriver, spec: GuestSpec) -> PowerState:
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    return guest.power_state


@pytest.mark.parametrize("how", ["running", "off", "suspended"])
def test_a_snapshot_is_a_disk_of_its_own(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, tmp_path: Path, how: str
) -> None:
    spec = build(disk_gib=1)
    if how == "off":
        driver.stop(spec.uuid, 0.0, NeverCancelled(runtime))
    elif how == "suspended":
        driver.suspend(spec.uuid, NeverCancelled(runtime))
    snapshot = driver.snapshot(spec.uuid, "op-1", NeverCancelled(runtime))
    assert snapshot.virtual_size_bytes == 1 << 30
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", snapshot.path]))
    assert (info["format"], info["virtual-size"]) == ("qcow2", 1 << 30)
    assert "backing-filename" not in info
    assert info["actual-size"] < 16 << 20  # what is empty stays empty
    assert same(snapshot.path, disk_of(tmp_path, spec))
    assert Path(snapshot.path).stat().st_mode & 0o777 == 0o600


def test_the_root_disk_is_copied_also_when_it_is_the_second(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, tmp_path: Path
) -> None:
    spec = build(start=False)
    rescue = write_image(tmp_path / "rescue.raw", up=b"RESCUE")
    driver.create_rescue_disk(spec, str(rescue), NeverCancelled(runtime))
    driver.define(spec, "rescue-operation", rescue=True)
    driver.start(spec.uuid)
    snapshot = driver.snapshot(spec.uuid, "op-1", NeverCancelled(runtime))
    assert same(snapshot.path, disk_of(tmp_path, spec))
    assert not same(snapshot.path, rescue)


def test_a_copy_outlives_libvirtd(
    driver: LibvirtDriver, heavy: HeavyGuests, heavy_spec: GuestSpec, machine: Machine, tmp_path: Path
) -> None:
    heavy.hold()
    token, paths = Mortal(), []

    def take() -> None:
        paths.append(driver.snapshot(heavy_spec.uuid, "op-1", token).path)

    task = ThreadRuntime().spawn("snapshot", take)
    assert token.looked.wait(60)
    machine.kill_libvirtd()
    heavy.release()
    machine.start_libvirtd()
    assert task.join(60)
    assert same(paths[0], disk_of(tmp_path, heavy_spec))
    assert power_of(driver, heavy_spec) is PowerState.RUNNING


def test_a_copy_ends_with_its_guest(
    driver: LibvirtDriver, heavy: HeavyGuests, heavy_spec: GuestSpec, machine: Machine, tmp_path: Path
) -> None:
    heavy.hold()
    token, raised = Mortal(), []

    def take() -> None:
        try:
            driver.snapshot(heavy_spec.uuid, "op-1", token)
        except errors.DriverError as exc:
            raised.append(exc)

    task = ThreadRuntime().spawn("snapshot", take)
    assert token.looked.wait(60)
    machine.run(["kill", "-9", str(machine.qemu_pid(f"drover-{heavy_spec.uuid}"))])
    assert task.join(60)
    assert raised
    assert list(disk_of(tmp_path, heavy_spec).parent.glob("snapshot*")) == []


@pytest.mark.long  # libvirt lets who comes second wait for half a minute
def test_a_backup_of_somebody_else_is_left_alone(
    driver: LibvirtDriver,
    heavy: HeavyGuests,
    heavy_spec: GuestSpec,
    machine: Machine,
    runtime: ThreadRuntime,
    tmp_path: Path,
) -> None:
    backup = tmp_path / "backup.xml"
    backup.write_text(
        "<domainbackup mode='push'><disks><disk name='vda' type='file' backup='yes'><driver type='qcow2'/>"
        f"<target file='{tmp_path}/theirs.qcow2'/></disk></disks></domainbackup>"
    )
    heavy.hold()
    machine.virsh("backup-begin", heavy_spec.uuid, str(backup))
    driver.discard_snapshot(heavy_spec.uuid, "op-1")
    with pytest.raises(errors.DriverError):
        driver.snapshot(heavy_spec.uuid, "op-1", NeverCancelled(runtime))
    assert "Backup" in machine.virsh("domjobinfo", heavy_spec.uuid)
    heavy.release()
    wait_until(lambda: "Backup" not in machine.virsh("domjobinfo", heavy_spec.uuid), "the end of their backup")
    assert same(tmp_path / "theirs.qcow2", disk_of(tmp_path, heavy_spec))
    driver.snapshot(heavy_spec.uuid, "op-1", NeverCancelled(runtime))


def test_a_freeze_left_by_a_dead_agent_is_known_and_ended(
    driver: LibvirtDriver, build: Build, runtime: ThreadRuntime, tmp_path: Path
) -> None:
    spec = build()
    marker = disk_of(tmp_path, spec).with_name("frozen")
    marker.touch()
    driver.discard_snapshot(spec.uuid, "op-1")
    assert marker.exists()  # nothing in this guest hears of the thaw
    driver.stop(spec.uuid, 0.0, NeverCancelled(runtime))
    driver.discard_snapshot(spec.uuid, "op-1")
    assert not marker.exists()


def test_an_id_that_is_a_path_is_refused(driver: LibvirtDriver, build: Build, runtime: ThreadRuntime) -> None:
    spec = build()
    for snapshot_id in ("", "../x", "a/b", ".", "a" * 200):
        with pytest.raises(errors.BadInput):
            driver.snapshot(spec.uuid, snapshot_id, NeverCancelled(runtime))
        with pytest.raises(errors.BadInput):
            driver.discard_snapshot(spec.uuid, snapshot_id)


def test_a_copy_of_a_guest_that_is_off_ends_with_its_agent(build: Build, heavy: HeavyGuests, tmp_path: Path) -> None:
    spec = build(start=False)
    disk, target = disk_of(tmp_path, spec), tmp_path / "copy.qcow2"
    heavy.make(disk)
    heavy.hold()
    code = f"from {__name__} import copy_for_ever as f; f({str(disk)!r}, {str(target)!r})"
    agent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    )
    children = Path(f"/proc/{agent.pid}/task")
    wait_until(lambda: [p for p in children.glob("*/children") if p.read_text()], "qemu-img")
    wait_until(lambda: "qemu-img" in _names_of_children(children), "qemu-img")
    [child] = _children(children)
    agent.send_signal(signal.SIGKILL)
    agent.wait(30)
    wait_until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child), "the end of qemu-img")


def copy_for_ever(disk: str, target: str) -> None:
    runtime = ThreadRuntime()
    Disks(runtime).copy(Path(disk), Path(target), NeverCancelled(runtime))


def _children(tasks: Path) -> list[int]:
    return [int(pid) for path in tasks.glob("*/children") for pid in path.read_text().split()]


def _names_of_children(tasks: Path) -> list[str]:
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in _children(tasks)]


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_full_disk_ends_the_snapshot_and_not_the_guest(machine: Machine, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.raw")
    with image.open("ab") as file:
        file.write(os.urandom(16 << 20))
    small = tmp_path / "small"
    small.mkdir()
    machine.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)])
    try:
        machine.call(snapshot_on_a_full_disk, str(small), str(image))
    finally:
        machine.no_domains()
        machine.run(["umount", str(small)])


def snapshot_on_a_full_disk(work: str, image: str) -> None:
    runtime = ThreadRuntime()
    with inner_driver(work, disk_cache="writeback", anti_spoof=False) as driver:
        spec = tiny_spec()
        driver.create_disk(spec, image, NeverCancelled(runtime))
        driver.create_config(spec)
        driver.define(spec, "operation")
        driver.start(spec.uuid)
        for power_state in (PowerState.RUNNING, PowerState.SHUTDOWN):
            with pytest.raises(errors.DiskFull):
                driver.snapshot(spec.uuid, "op-1", NeverCancelled(runtime))
            guest = driver.get_guest(spec.uuid)
            assert guest is not None
            assert guest.power_state is power_state
            assert list(Path(work).glob("instances/*/*/snapshot*")) == []
            driver.stop(spec.uuid, 0.0, NeverCancelled(runtime))
        driver.create_disk(replace(spec, epoch=2), image, NeverCancelled(runtime))  # there is room again

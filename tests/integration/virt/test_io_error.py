"""A guest that QEMU paused, because its disk had no room for what it wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.virt.libvirt.driver import LibvirtDriver
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.integration.virt.conftest import NeverCancelled, tiny_spec
from tests.integration.virt.inside import inner_driver
from tests.machine import Machine, wait_until

_DISK_BYTES = 8 << 20
#: of the BIOS's table in the boot sector
_TABLE = 0x20


def writer() -> bytes:
    """A boot sector that writes one sector of each 64 KiB of its disk, by the BIOS, and goes on beyond the end."""
    table = (0x7C00 + _TABLE).to_bytes(2, "little")
    block = (0x7C00 + _TABLE + 8).to_bytes(2, "little")
    code = bytes.fromhex("fa 31c0 8ed8 8ed0 bc 007c fb")  # ds = ss = 0; sp = 0x7c00; interrupts
    again = len(code)
    code += bytes.fromhex("b8 0043 b2 80 be") + table + bytes.fromhex("cd13")  # write by the table below
    code += bytes.fromhex("66 8106") + block + (128).to_bytes(4, "little")  # the next 64 KiB
    code += b"\xeb" + (again - len(code) - 2).to_bytes(1, "little", signed=True)
    assert len(code) <= _TABLE
    request = bytes.fromhex("1000 0100 007c 0000") + (2048).to_bytes(8, "little")  # one sector, from 0x7c00
    return (code.ljust(_TABLE, b"\x90") + request).ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize("verb", ["discard_snapshot", "unpause", "start"])
def test_it_is_paused_and_goes_on_once_there_is_room(machine: Machine, tmp_path: Path, verb: str) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(writer().ljust(_DISK_BYTES, b"\0"))
    small = tmp_path / "small"
    small.mkdir()
    machine.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)])
    try:
        machine.call(run_into_the_end_of_the_disk, str(small), str(image), verb)
    finally:
        machine.no_domains()
        machine.run(["umount", str(small)])


def run_into_the_end_of_the_disk(work: str, image: str, verb: str) -> None:
    runtime = ThreadRuntime()
    with inner_driver(work, disk_cache="writeback", anti_spoof=False) as driver:
        spec = tiny_spec()
        driver.create_disk(spec, image, NeverCancelled(runtime))
        driver.create_config(spec)
        driver.define(spec, "operation")
        driver.start(spec.uuid)
        wait_until(lambda: power_of(driver, spec.uuid) is PowerState.PAUSED, "the full disk")
        assert "I/O error" in subprocess.check_output(["virsh", "domstate", "--reason", spec.uuid], text=True)
        driver.pause(spec.uuid)
        assert power_of(driver, spec.uuid) is PowerState.PAUSED
        subprocess.run(["mount", "-o", "remount,size=64m", work], check=True)
        if verb == "discard_snapshot":
            driver.discard_snapshot(spec.uuid, "op-1")
        else:
            getattr(driver, verb)(spec.uuid)
        assert power_of(driver, spec.uuid) is PowerState.RUNNING
        disk = Path(work) / "instances" / spec.uuid / "1" / "disk.qcow2"
        wait_until(lambda: disk.stat().st_blocks * 512 > 6 << 20, "the rest of its writes")


def power_of(driver: LibvirtDriver, instance_uuid: str) -> PowerState:
    guest = driver.get_guest(instance_uuid)
    assert guest is not None
    return guest.power_state

"""The libvirt driver, over a libvirtd of the test run's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.hardware import GivenOut
from agent.virt.driver import Driver
from agent.virt.libvirt.driver import LibvirtDriver
from drover.conf import load
from drover.conf.libvirt import LibvirtSettings
from drover.objects.guest import GuestSpec
from drover.runtime.threads import ThreadRuntime
from tests.contract.virt.heavy import HeavyGuests
from tests.contract.virt.spec import DEPLOYMENT, make_spec
from tests.contract.virt.suite import DriverContract, Harness
from tests.contract.virt.verb import VerbContract
from tests.guest import UP, write_image
from tests.machine import Machine, wait_until

_FOREIGN = """
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64'>hvm</type></os><devices><controller type='usb' model='none'/></devices></domain>
"""


class LibvirtHarness(Harness):
    """The driver works outside the host's namespaces and leaves nftables alone; tests/integration/virt tries the rest."""

    boot_marker = UP
    other_marker = b"DROVER OTHER UP"
    given_out = GivenOut()  # of the next driver

    def __init__(self, machine: Machine, runtime: ThreadRuntime, directory: Path) -> None:
        self._machine = machine
        self._runtime = runtime
        self._directory = directory
        self._settings = replace(
            load().get(LibvirtSettings),
            uri=machine.uri,
            virt_type="qemu",
            instances_dir=str(directory / "instances"),
            anti_spoof=False,
            soft_reboot_timeout_s=30.0,
        )
        self._opened: list[LibvirtDriver] = []
        self._obedient = str(write_image(directory / "obedient.raw"))
        self._stubborn = str(write_image(directory / "stubborn.raw", obedient=False))
        self.image_path = self._obedient
        self.other_image_path = str(write_image(directory / "other.raw", up=self.other_marker))
        self._heavy = HeavyGuests(machine, directory)
        self.restart()

    def make_spec(self, number: int = 1, *, epoch: int = 1, obedient: bool = True) -> GuestSpec:
        self.image_path = self._obedient if obedient else self._stubborn
        return make_spec(number, epoch=epoch)

    def domain_name(self, spec: GuestSpec) -> str:
        return f"drover-{spec.uuid}"

    def plant_foreign(self, uuid: str, name: str, *, running: bool) -> None:
        path = self._directory / "foreign.xml"
        path.write_text(_FOREIGN.format(uuid=uuid, name=name))
        self._machine.virsh("define", str(path))
        if running:
            self._machine.virsh("start", name)

    def fingerprint(self, uuid: str) -> str:
        virsh = self._machine.virsh
        files = sorted(self._directory.glob(f"instances/{uuid}/*/*"))
        return f"{virsh('domstate', uuid)} {virsh('dumpxml', uuid)} {virsh('dumpxml', '--inactive', uuid)} {files}"

    def cut_power(self, uuid: str) -> None:
        self._machine.run(["kill", "-9", str(self._machine.qemu_pid(f"drover-{uuid}"))])
        wait_until(lambda: self._machine.virsh("domstate", uuid).strip() == "shut off", "libvirt to see it")

    def leftovers(self, uuid: str) -> list[str]:
        domains = [found for found in self._machine.virsh("list", "--all", "--uuid").split() if found == uuid]
        saved = (self._machine.root / "var/lib/libvirt/qemu/save").glob(f"*{uuid}*")
        return [*domains, *map(str, saved), *map(str, self._directory.glob(f"instances/{uuid}"))]

    def disk_image(self, uuid: str) -> str:
        [disk] = self._directory.glob(f"instances/{uuid}/*/disk.qcow2")
        info = subprocess.check_output(["qemu-img", "info", "-U", "--output=json", disk])
        return str(json.loads(info)["backing-filename"])

    def rescue_disks(self, uuid: str) -> list[str]:
        return [str(path) for path in self._directory.glob(f"instances/{uuid}/*/rescue*")]

    def snapshots(self, uuid: str) -> list[str]:
        files = [str(path) for path in self._directory.glob(f"instances/{uuid}/*/snapshot*")]
        running = self._machine.virsh("domstate", uuid).strip() in {"running", "paused"}
        if running and "Backup" in self._machine.virsh("domjobinfo", uuid):
            files.append("a job")
        return files

    def make_heavy(self, spec: GuestSpec) -> None:
        [disk] = self._directory.glob(f"instances/{spec.uuid}/{spec.epoch}/disk.qcow2")
        self._heavy.make(disk)

    def hold(self) -> None:
        self._heavy.hold()

    def release(self) -> None:
        self._heavy.release()

    def restart(self, deployment_id: str = DEPLOYMENT) -> Driver:
        driver = LibvirtDriver(self._runtime, self._settings, self._directory, self.given_out)
        driver.open()
        driver.set_deployment(deployment_id)
        self._opened.append(driver)
        self.driver = driver
        return driver

    def clear(self) -> None:
        """Nothing is left on the host for the next test."""
        self._heavy.close()
        for driver in self._opened:
            driver.close()
        self._machine.no_domains()


class TestLibvirt(DriverContract, VerbContract):
    @pytest.fixture
    def harness(self, machine: Machine, runtime: ThreadRuntime, tmp_path: Path) -> Iterator[LibvirtHarness]:
        made = LibvirtHarness(machine, runtime, tmp_path)
        yield made
        made.clear()

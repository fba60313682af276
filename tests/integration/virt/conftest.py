"""A host with libvirt, and drivers over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.libvirt.driver import LibvirtDriver
from drover.conf import load
from drover.conf.libvirt import LibvirtSettings
from drover.objects.guest import GuestSpec, ImageSource
from drover.runtime.threads import ThreadRuntime
from tests.guest import write_image
from tests.machine import Machine

DEPLOYMENT = "b7f0a2a4-6a3c-4c52-8a43-3b8f0f5f7f11"

MakeDriver = Callable[..., LibvirtDriver]
MakeSpec = Callable[..., GuestSpec]


class NeverCancelled:
    """A cancel token that nobody sets."""

    def __init__(self, runtime: ThreadRuntime) -> None:
        self._never = runtime.event()

    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        return

    def wait(self, timeout_s: float) -> bool:
        return self._never.wait(timeout_s)


@pytest.fixture
def settings(machine: Machine, tmp_path: Path) -> LibvirtSettings:
    """For a driver outside the host's namespaces, which therefore leaves nftables alone."""
    return replace(
        load().get(LibvirtSettings),
        uri=machine.uri,
        virt_type="qemu",
        instances_dir=str(tmp_path / "instances"),
        images_dir=str(tmp_path / "images"),
        anti_spoof=False,
        soft_reboot_timeout_s=30.0,
    )


@pytest.fixture
def make_driver(runtime: ThreadRuntime, settings: LibvirtSettings, tmp_path: Path) -> Iterator[MakeDriver]:
    """Drivers with some settings changed; each is closed at the end."""
    made: list[LibvirtDriver] = []

    def make(**changes: object) -> LibvirtDriver:
        driver = LibvirtDriver(runtime, replace(settings, **changes), tmp_path)  # type: ignore[arg-type]
        driver.open()
        driver.set_deployment(DEPLOYMENT)
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(machine: Machine, make_driver: MakeDriver) -> Iterator[LibvirtDriver]:
    """One driver; afterwards no domain is left on the host."""
    yield make_driver()
    machine.no_domains()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "obedient.raw")


@pytest.fixture
def stubborn_image(tmp_path: Path) -> Path:
    """Of a guest that ignores its power button."""
    return write_image(tmp_path / "stubborn.raw", obedient=False)


def tiny_spec(**changes: object) -> GuestSpec:
    """The smallest guest, of a new instance unless the uuid is given."""
    source = ImageSource(id="boot", format="raw", sha256="", size_bytes=0, virtual_size_bytes=0, url="")
    plain = GuestSpec(
        deployment_id=DEPLOYMENT,
        uuid=ThreadRuntime().uuid(),
        epoch=1,
        name="web-1",
        hostname="web-1",
        project_id="default",
        user_id="admin",
        flavor_name="tiny",
        vcpus=1,
        memory_mib=16,
        disk_gib=0,
        image=source,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def make_spec() -> MakeSpec:
    return tiny_spec


@pytest.fixture
def build(driver: LibvirtDriver, make_spec: MakeSpec, image: Path, runtime: ThreadRuntime) -> Callable[..., GuestSpec]:
    """Take a guest through all the steps of a build, up to running unless told otherwise."""

    def make(*, start: bool = True, source: Path = image, **changes: object) -> GuestSpec:
        spec = make_spec(**changes)
        driver.create_disk(spec, str(source), NeverCancelled(runtime))
        driver.create_network(spec)
        driver.create_config(spec)
        driver.define(spec, "build-operation")
        if start:
            driver.start(spec.uuid)
        return spec

    return make


@pytest.fixture
def no_networks(machine: Machine) -> Iterator[None]:
    """Nothing is left of the networks that the test makes."""
    yield
    for name in machine.virsh("net-list", "--name").split():
        machine.virsh("net-destroy", name)
    for name in machine.virsh("net-list", "--all", "--name").split():
        machine.virsh("net-undefine", name)

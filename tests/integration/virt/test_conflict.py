"""What is not ours, or not of this epoch, is never touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.libvirt.driver import LibvirtDriver
from drover import errors
from drover.objects.guest import GuestClass, GuestSpec
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.integration.virt.conftest import MakeSpec, NeverCancelled
from tests.machine import Machine

Build = Callable[..., GuestSpec]

_FOREIGN = """
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64'>hvm</type></os><devices><controller type='usb' model='none'/></devices></domain>
"""


@pytest.fixture
def foreign(driver: LibvirtDriver, machine: Machine, tmp_path: Path) -> Callable[[str, str], None]:
    """Starts domains that somebody else made."""

    def make(name: str, uuid: str) -> None:
        path = tmp_path / "foreign.xml"
        path.write_text(_FOREIGN.format(name=name, uuid=uuid))
        machine.virsh("define", str(path))
        machine.virsh("start", name)

    return make


def test_a_foreign_domain_is_listed_and_never_touched(
    driver: LibvirtDriver,
    foreign: Callable[[str, str], None],
    make_spec: MakeSpec,
    runtime: ThreadRuntime,
    machine: Machine,
) -> None:
    spec = make_spec()
    foreign("the-neighbours", spec.uuid)
    (guest,) = driver.list_guests()
    assert (guest.kind, guest.name, guest.epoch) == (GuestClass.FOREIGN, "the-neighbours", 0)
    assert guest.power_state is PowerState.RUNNING
    assert driver.get_guest(spec.uuid) is None
    assert driver.stats().guests == {}
    with pytest.raises(errors.GuestConflict):
        driver.define(spec, "operation")
    with pytest.raises(errors.GuestConflict):
        driver.remove(spec.uuid, 99)
    with pytest.raises(errors.GuestNotFound):
        driver.start(spec.uuid)
    with pytest.raises(errors.GuestNotFound):
        driver.reboot(spec.uuid, "operation", hard=True)
    with pytest.raises(errors.GuestNotFound):
        driver.console_log(spec.uuid, 10)
    driver.stop(spec.uuid, 0.0, NeverCancelled(runtime))
    assert machine.virsh("domstate", "the-neighbours").strip() == "running"


def test_a_foreign_domain_with_our_name_is_a_conflict(
    driver: LibvirtDriver, foreign: Callable[[str, str], None], make_spec: MakeSpec, runtime: ThreadRuntime
) -> None:
    spec = make_spec()
    foreign(f"drover-{spec.uuid}", runtime.uuid())
    with pytest.raises(errors.GuestConflict):
        driver.define(spec, "operation")


def test_a_guest_of_another_deployment_is_foreign(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    spec = build()
    for deployment in ("another", ""):
        driver.set_deployment(deployment)
        assert [guest.kind for guest in driver.list_guests()] == [GuestClass.FOREIGN]
        with pytest.raises(errors.GuestConflict):
            driver.remove(spec.uuid, spec.epoch)
    assert machine.virsh("domstate", spec.uuid).strip() == "running"


def test_an_active_guest_of_another_epoch_is_in_the_way(driver: LibvirtDriver, build: Build) -> None:
    spec = build(epoch=2)
    for epoch in (1, 3):
        with pytest.raises(errors.GuestConflict):
            driver.define(replace(spec, epoch=epoch), "operation")
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.epoch == 2


def test_a_guest_that_is_off_gives_way_to_a_later_epoch_only(driver: LibvirtDriver, build: Build) -> None:
    spec = build(epoch=2, start=False)
    with pytest.raises(errors.GuestConflict):
        driver.define(replace(spec, epoch=1), "operation")
    driver.define(replace(spec, epoch=3), "operation")
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.epoch == 3


def test_remove_of_an_earlier_epoch_touches_nothing(driver: LibvirtDriver, build: Build, tmp_path: Path) -> None:
    spec = build(epoch=2)
    before = sorted((tmp_path / "instances").rglob("*"))
    with pytest.raises(errors.GuestConflict):
        driver.remove(spec.uuid, 1)
    guest = driver.get_guest(spec.uuid)
    assert guest is not None
    assert guest.power_state is PowerState.RUNNING
    assert sorted((tmp_path / "instances").rglob("*")) == before


@pytest.mark.parametrize("steps", range(4))
def test_remove_from_every_half_built_state(
    driver: LibvirtDriver, make_spec: MakeSpec, image: Path, runtime: ThreadRuntime, tmp_path: Path, steps: int
) -> None:
    spec, later = make_spec(), None
    actions: list[Callable[[GuestSpec], None]] = [
        lambda one: driver.create_disk(one, str(image), NeverCancelled(runtime)),
        driver.create_network,
        driver.create_config,
    ]
    for action in actions[:steps]:
        action(spec)
    later = replace(spec, epoch=5)
    driver.create_config(later)
    driver.remove(spec.uuid, 4)
    driver.remove(spec.uuid, 4)
    assert [path.name for path in (tmp_path / "instances" / spec.uuid).iterdir()] == ["5"]
    driver.remove(spec.uuid, 5)
    assert list((tmp_path / "instances").iterdir()) == []


def test_remove_when_the_files_went_first(driver: LibvirtDriver, build: Build, tmp_path: Path) -> None:
    spec = build()
    for path in (tmp_path / "instances" / spec.uuid / "1").iterdir():
        path.unlink()
    driver.remove(spec.uuid, 1)
    assert driver.list_guests() == []
    assert list((tmp_path / "instances").iterdir()) == []


def test_remove_takes_a_saved_state_with_it(driver: LibvirtDriver, build: Build, machine: Machine) -> None:
    spec = build()
    machine.virsh("managedsave", spec.uuid)
    driver.remove(spec.uuid, 1)
    assert driver.list_guests() == []

"""The fake driver, over guests in files and in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.driver import Driver, PowerEvent
from agent.virt.fake import FakeDriver
from agent.virt.fake_store import FileGuestStore, GuestRecord, GuestStore, MemoryGuestStore
from drover.conf.fake import FakeSettings
from drover.objects.guest import GuestSpec
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.contract.virt.spec import DEPLOYMENT, OTHER_DEPLOYMENT, make_spec
from tests.contract.virt.suite import DriverContract, Harness
from tests.contract.virt.verb import VerbContract


class FakeHarness(Harness):
    image_path = "/fake/images/tiny"
    boot_marker = b"GUEST-READY"
    other_image_path = "/fake/images/other"
    other_marker = b"GUEST-READY"

    def __init__(self, store: GuestStore) -> None:
        self._store = store
        self._settings = FakeSettings()
        self.restart()

    def make_spec(self, number: int = 1, *, epoch: int = 1, obedient: bool = True) -> GuestSpec:
        if not obedient:
            self._settings = replace(self._settings, shutdown_s=3600.0)
            self.restart()
        return make_spec(number, epoch=epoch)

    def domain_name(self, spec: GuestSpec) -> str:
        return f"drover-{spec.uuid}"

    def plant_foreign(self, uuid: str, name: str, *, running: bool) -> None:
        power_state = PowerState.RUNNING if running else PowerState.SHUTDOWN
        self._store.put(
            GuestRecord(
                uuid=uuid,
                name=name,
                deployment_id=OTHER_DEPLOYMENT,
                epoch=1,
                defined=True,
                power_state=power_state,
                memory_mib=64,
            )
        )

    def fingerprint(self, uuid: str) -> str:
        return repr(self._store.get(uuid))

    def cut_power(self, uuid: str) -> None:
        record = self._store.get(uuid)
        assert record is not None
        self._store.put(replace(record, power_state=PowerState.CRASHED))
        for listener in self._fake._listeners:
            listener(PowerEvent(uuid, PowerState.CRASHED))

    def leftovers(self, uuid: str) -> list[str]:
        record = self._store.get(uuid)
        return [] if record is None else [repr(record)]

    def disk_image(self, uuid: str) -> str:
        return self._record(uuid).disk_image

    def rescue_disks(self, uuid: str) -> list[str]:
        return [image for image in [self._record(uuid).rescue_image] if image]

    def snapshots(self, uuid: str) -> list[str]:
        record = self._record(uuid)
        return [*record.snapshots, *record.copying]

    def make_heavy(self, spec: GuestSpec) -> None:
        """All are."""

    def hold(self) -> None:
        self._settings = replace(self._settings, copy_s=3600.0)
        self.restart()

    def release(self) -> None:
        self._settings = replace(self._settings, copy_s=0.0)
        self.restart()

    def _record(self, uuid: str) -> GuestRecord:
        record = self._store.get(uuid)
        assert record is not None
        return record

    def restart(self, deployment_id: str = DEPLOYMENT) -> Driver:
        self.driver = self._fake = FakeDriver(ThreadRuntime(seed=3), self._settings, self._store)
        self.driver.set_deployment(deployment_id)
        return self.driver


class TestFakeInMemory(DriverContract, VerbContract):
    @pytest.fixture
    def harness(self) -> FakeHarness:
        return FakeHarness(MemoryGuestStore())


class TestFakeInFiles(DriverContract, VerbContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> FakeHarness:
        return FakeHarness(FileGuestStore(ThreadRuntime(), tmp_path))

"""What the fake driver has beyond the contract: faults, latency, files that others write too."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.virt.fake import FakeDriver, FakeImages
from agent.virt.fake_image import DISK_BYTES, blank_qcow2
from agent.virt.fake_store import FileGuestStore, GuestRecord, MemoryGuestStore
from drover import errors
from drover.conf.fake import FakeSettings
from drover.image_format import inspect
from drover.objects.catalog import ImageFormat
from drover.objects.guest import UploadTarget
from drover.runtime.threads import ThreadRuntime
from drover.states import PowerState
from tests.contract.virt.spec import DEPLOYMENT, make_spec
from tests.contract.virt.suite import Cancelled, NeverCancelled


def driver_of(settings: FakeSettings, store: MemoryGuestStore | None = None) -> FakeDriver:
    driver = FakeDriver(ThreadRuntime(seed=4), settings, store or MemoryGuestStore())
    driver.set_deployment(DEPLOYMENT)
    return driver


@pytest.mark.parametrize("rate", ["definitely=0.5", "define=often", "define", "define=1.5", "define=-1"])
def test_bad_rates(rate: str) -> None:
    with pytest.raises(errors.InvalidConfig, match="fail_rates"):
        driver_of(FakeSettings(fail_rates=(rate,)))


def test_faults_come_before_and_after_the_effect() -> None:
    store = MemoryGuestStore()
    driver = driver_of(FakeSettings(fail_rates=("define=1.0",)), store)
    effects = []
    for number in range(40):
        with pytest.raises(errors.DriverError, match="as asked"):
            driver.define(make_spec(number), "op")
        effects.append(store.get(make_spec(number).uuid) is not None)
    assert True in effects
    assert False in effects


def test_unreachable_hypervisor() -> None:
    driver = driver_of(FakeSettings())
    driver.down = True
    with pytest.raises(errors.DriverUnavailable):
        driver.list_guests()
    driver.down = False
    assert driver.list_guests() == []


def test_latency() -> None:
    slept: list[float] = []

    class Runtime(ThreadRuntime):
        def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    driver = FakeDriver(Runtime(seed=4), FakeSettings(latency_min_s=1.0, latency_max_s=3.0), MemoryGuestStore())
    driver.list_guests()
    driver.list_guests()
    assert len(set(slept)) == 2
    assert all(1.0 <= seconds <= 3.0 for seconds in slept)


def test_one_fetch_however_many_wait() -> None:
    images = FakeImages(ThreadRuntime(), FakeSettings(image_latency_s=0.0))
    source = make_spec().image
    paths: list[str] = []
    threads = [threading.Thread(target=lambda: paths.append(images.ensure(source, NeverCancelled()))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(paths) == 9
    assert len(set(paths)) == 1
    assert images.fetches == 1


def test_cancelled_fetch_is_done_by_the_next() -> None:
    images = FakeImages(ThreadRuntime(), FakeSettings())
    with pytest.raises(errors.OperationCancelled):
        images.ensure(make_spec().image, Cancelled())
    assert images.fetches == 0
    images.ensure(make_spec().image, NeverCancelled())
    assert images.fetches == 1


RECORD = GuestRecord(uuid="a", name="n", defined=True, power_state=PowerState.RUNNING)


def test_files_are_shared(tmp_path: Path) -> None:
    ours, theirs = (FileGuestStore(ThreadRuntime(), tmp_path) for _ in range(2))
    ours.put(RECORD)
    assert theirs.get("a") == RECORD
    theirs.put(replace(RECORD, boots=2))
    theirs.put(replace(RECORD, uuid="b"))
    ours.put(replace(RECORD, uuid="c"))
    assert [(r.uuid, r.boots) for r in ours.list()] == [("a", 2), ("b", 0), ("c", 0)]
    assert theirs.list() == ours.list()
    ours.delete("b")
    assert theirs.get("b") is None
    assert FileGuestStore(ThreadRuntime(), tmp_path).list() == ours.list()


def test_torn_line(tmp_path: Path) -> None:
    FileGuestStore(ThreadRuntime(), tmp_path).put(RECORD)
    with (tmp_path / "guests").open("ab") as file:
        file.write(b'{"record": {"uuid": "b"')
    store = FileGuestStore(ThreadRuntime(), tmp_path)
    assert store.list() == [RECORD]
    store.put(replace(RECORD, uuid="c"))
    assert [r.uuid for r in FileGuestStore(ThreadRuntime(), tmp_path).list()] == ["a", "c"]


def test_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    store, reader = (FileGuestStore(ThreadRuntime(), tmp_path) for _ in range(2))
    big = replace(RECORD, console="x" * 100_000)
    for number in range(120):
        store.put(replace(big, boots=number))
    assert (tmp_path / "guests").stat().st_size < 6_000_000
    assert store.list() == reader.list() == [replace(big, boots=119)]


def test_what_the_fake_host_sends_to_the_depot_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "blank.qcow2"
    path.write_bytes(blank_qcow2(DISK_BYTES))
    facts = inspect(path, ImageFormat.QCOW2, image="blank", limit_gib=1)
    assert (facts.format, facts.virtual_size_bytes) == (ImageFormat.QCOW2, DISK_BYTES)


def test_an_upload_may_be_done_in_another_way() -> None:
    target = UploadTarget(image_id="image", url="http://depot", token="token", chunk_bytes=1024)
    sent: list[tuple[str, UploadTarget]] = []
    images = FakeImages(ThreadRuntime(), FakeSettings(), upload=lambda path, to, _: sent.append((path, to)))
    images.upload("/fake/snapshots/1", target, NeverCancelled())
    assert sent == [("/fake/snapshots/1", target)]
    with pytest.raises(errors.OperationCancelled):
        images.upload("/fake/snapshots/1", target, Cancelled())
    assert len(sent) == 1

"""From a user's file to bytes in the depot that were checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conductor.depot import Depot
from conductor.depot_store import Checked, DepotStore
from conductor.workflows.image import ImageWorkflow
from drover import errors
from drover.db import image as image_rows
from drover.depot import sha256_of, upload
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.rpc.conductor import DepotInfo
from tests.functional.image.conftest import CHUNK, CTX, KEY, Site

BYTES = b"\xfa\xf4" + bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BYTES).hexdigest()
RAW = Image(id="", name="disk", format=ImageFormat.RAW, size_bytes=len(BYTES), sha256=SHA256)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(BYTES)
    return path


def send(site: Site, image: Image, path: Path, progress: Callable[[int], None] = lambda _: None) -> None:
    upload(site.runtime, path, image.id, lambda: site.images.upload(CTX, image.id), progress, patience_s=20.0)


def test_the_whole_way(site: Site, disk: Path) -> None:
    seen: list[int] = []
    image = site.images.create(CTX, RAW)
    assert image.status is ImageStatus.QUEUED
    send(site, image, disk, seen.append)
    assert seen == [0, *range(CHUNK, len(BYTES), CHUNK), len(BYTES)]
    done = site.images.complete(CTX, "disk")
    assert done == site.images.show(CTX, image.id)
    assert (done.status, done.size_bytes, done.virtual_size_bytes) == (ImageStatus.ACTIVE, len(BYTES), len(BYTES))
    assert site.files() == [image.id]
    assert (Path(site.settings.directory) / image.id).read_bytes() == BYTES


def test_what_was_not_said_is_found_out(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, replace(RAW, size_bytes=0, sha256=""))
    send(site, image, disk)
    done = site.images.complete(CTX, image.id)
    assert (done.size_bytes, done.sha256) == (len(BYTES), SHA256)


def test_sha256_of_a_file_with_progress(disk: Path) -> None:
    seen: list[int] = []
    assert sha256_of(disk, seen.append) == SHA256
    assert seen[-1] == len(BYTES)


def test_completing_twice_is_completing_once(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    send(site, image, disk)
    assert site.images.complete(CTX, image.id) == site.images.complete(CTX, image.id)


def test_a_conductor_killed_between_file_and_row_completes_at_the_next_call(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    send(site, image, disk)
    site.depot.store.check(image, 1)  # the file has its final name, the row is still queued
    site.restart()
    assert site.files() == [image.id]
    assert site.images.complete(CTX, image.id).status is ImageStatus.ACTIVE


def test_creating_with_the_same_id_again_is_harmless_and_with_other_words_refused(site: Site) -> None:
    named = replace(RAW, id=site.runtime.uuid())
    first = site.images.create(CTX, named)
    assert site.images.create(CTX, named) == first
    with pytest.raises(errors.IdempotencyMismatch):
        site.images.create(CTX, replace(named, name="other"))
    assert len(site.images.list(CTX)) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sha256": "00" * 32}, errors.ImageChecksumMismatch),
        ({"format": ImageFormat.QCOW2}, errors.InvalidImage),
    ],
)
def test_wrong_bytes_are_refused_removed_and_explained_again(
    site: Site, disk: Path, changes: dict[str, object], error: type[errors.DroverError]
) -> None:
    image = site.images.create(CTX, replace(RAW, **changes))  # type: ignore[arg-type]
    send(site, image, disk)
    with pytest.raises(error) as first:
        site.images.complete(CTX, image.id)
    assert site.images.show(CTX, image.id).status is ImageStatus.ERROR
    assert site.files() == [f"{image.id}.refused"]
    site.restart()  # another conductor says the same
    with pytest.raises(error) as second:
        site.images.complete(CTX, image.id)
    assert second.value.to_dict() == first.value.to_dict()
    with pytest.raises(errors.InvalidImage, match="takes no bytes"):
        site.images.upload(CTX, image.id)
    site.images.delete(CTX, image.id)
    assert site.files() == []


@pytest.mark.parametrize("sent", [0, len(BYTES) - 1])
def test_too_few_bytes_are_refused(site: Site, tmp_path: Path, sent: int) -> None:
    short = tmp_path / "short"
    short.write_bytes(BYTES[:sent])
    image = site.images.create(CTX, RAW)
    send(site, image, short)
    with pytest.raises(errors.InvalidImage, match="bytes"):
        site.images.complete(CTX, image.id)


def test_more_bytes_than_announced_are_not_taken(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, replace(RAW, size_bytes=1000))
    with pytest.raises(errors.InvalidImage, match="more than 1000"):
        send(site, image, disk)
    assert site.depot.store.size(image.id) == 0


def test_an_upload_goes_on_where_it_ended_after_the_conductor_was_killed(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    seen: list[int] = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            site.restart()

    send(site, image, disk, progress)
    assert seen == sorted(set(seen))
    assert site.images.complete(CTX, image.id).status is ImageStatus.ACTIVE


def test_a_second_attempt_sends_only_the_rest(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)

    class Interrupted(Exception):
        pass

    def interrupt(done: int) -> None:
        if done >= 2 * CHUNK:
            raise Interrupted

    with pytest.raises(Interrupted):
        send(site, image, disk, interrupt)
    seen: list[int] = []
    send(site, image, disk, seen.append)
    assert seen[0] == 2 * CHUNK
    assert site.images.complete(CTX, image.id).status is ImageStatus.ACTIVE


def test_bytes_that_a_crash_took_from_the_end_are_sent_again(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    part = Path(site.settings.directory) / f"{image.id}.part"

    def lose(done: int) -> None:
        if done == 3 * CHUNK and not lost:
            lost.append(done)
            os.truncate(part, CHUNK + 7)

    lost: list[int] = []
    send(site, image, disk, lose)
    assert lost
    assert site.images.complete(CTX, image.id).status is ImageStatus.ACTIVE


def test_an_expired_token_is_renewed_on_the_way(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    asked: list[DepotInfo] = []

    def info() -> DepotInfo:
        good = site.images.upload(CTX, image.id)
        asked.append(good if asked else replace(good, token="1.00"))
        return asked[-1]

    upload(site.runtime, disk, image.id, info, lambda _: None)
    assert len(asked) == 2
    assert site.images.complete(CTX, image.id).status is ImageStatus.ACTIVE


def test_a_depot_that_stays_away_is_given_up(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)
    info = site.images.upload(CTX, image.id)
    site.depot.stop()
    with pytest.raises(errors.Unavailable, match="depot"):
        upload(site.runtime, disk, image.id, lambda: info, lambda _: None, patience_s=0.1)


def test_deleting_in_the_middle_ends_the_upload(site: Site, disk: Path) -> None:
    image = site.images.create(CTX, RAW)

    def delete(done: int) -> None:
        if done == CHUNK:
            site.images.delete(CTX, image.id)

    with pytest.raises(errors.ImageNotFound):
        send(site, image, disk, delete)
    assert site.files() == []
    assert site.images.list(CTX) == ()


def test_a_chunk_that_a_delete_overtook_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    image = site.images.create(CTX, RAW)
    append = DepotStore.append

    def late(store: DepotStore, image_id: str, offset: int, chunk: bytes) -> int:
        site.images.delete(CTX, image_id)
        return append(store, image_id, offset, chunk)

    monkeypatch.setattr(DepotStore, "append", late)
    with pytest.raises(errors.ImageNotFound):
        site.depot.receive(image.id, 0, b"half")
    assert site.files() == []


@pytest.mark.parametrize("taken", ["bytes", "record"])
def test_a_check_that_a_delete_overtook_leaves_nothing(
    site: Site, disk: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """The delete took the bytes before the check read them, or came by before the check gave them their name."""
    image = site.images.create(CTX, RAW)
    send(site, image, disk)
    check = DepotStore.check

    def late(store: DepotStore, of: Image, limit_gib: int) -> Checked:
        if taken == "bytes":
            site.images.delete(CTX, of.id)
        with site.database.write() as conn:
            image_rows.mark_deleted(conn, of.id, site.runtime.clock.now())
        return check(store, of, limit_gib)

    monkeypatch.setattr(DepotStore, "check", late)
    with pytest.raises(errors.ImageNotFound):
        site.images.complete(CTX, image.id)
    assert site.files() == []


@pytest.mark.timeout(60)
def test_bytes_of_deleted_images_are_swept_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = site.images.create(CTX, RAW)
    site.depot.receive(gone.id, 0, b"half")
    with site.database.write() as conn:
        image_rows.mark_deleted(conn, gone.id, site.runtime.clock.now())
    monkeypatch.setattr("conductor.depot._SWEEP_EVERY_S", 0.01)
    sweep, swept = Depot.sweep, site.runtime.queue()

    def told(depot: Depot) -> None:
        sweep(depot)
        swept.put(site.files())

    monkeypatch.setattr(Depot, "sweep", told)
    site.restart()
    assert swept.get() == []  # at the start
    late = Path(site.settings.directory) / f"{gone.id}.refused"
    late.write_text("{}")
    while late.exists():
        swept.get()


def test_bytes_of_deleted_images_are_swept_at_start_and_others_stay(site: Site, disk: Path) -> None:
    kept = site.images.create(CTX, RAW)
    send(site, kept, disk)
    site.images.complete(CTX, kept.id)
    half = site.images.create(CTX, RAW)
    site.depot.receive(half.id, 0, b"half")
    directory = Path(site.settings.directory)
    for name in ("{}", "{}.part"):
        gone = site.images.create(CTX, RAW)
        with site.database.write() as conn:
            image_rows.mark_deleted(conn, gone.id, site.runtime.clock.now())
        (directory / name.format(gone.id)).write_bytes(b"x")
    # The database may be an old copy that does not know it.
    unknown = site.runtime.uuid()
    (directory / unknown).write_bytes(b"x")
    site.restart()
    assert site.files() == sorted([kept.id, f"{half.id}.part", unknown])


def test_clients_may_be_sent_another_way_than_agents(site: Site) -> None:
    image = site.images.create(CTX, RAW)
    settings = replace(site.settings, upload_url="https://front.test/depot/")
    info = ImageWorkflow(site.database, site.runtime, settings, KEY).upload(CTX, image.id)
    assert (info.url, info.chunk_bytes) == ("https://front.test/depot", CHUNK)


def test_an_image_with_a_url_is_active_at_once_and_takes_no_bytes(site: Site) -> None:
    image = site.images.create(CTX, replace(RAW, url="http://images.test/x"))
    assert image.status is ImageStatus.ACTIVE
    assert site.images.complete(CTX, image.id) == image
    with pytest.raises(errors.InvalidImage, match="takes no bytes"):
        site.images.upload(CTX, image.id)

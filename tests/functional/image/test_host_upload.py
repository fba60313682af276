"""A host sends the copy of a guest's disk to the depot, whatever happens between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from agent.image.uploader import Uploader
from drover import errors
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.objects.guest import UploadTarget
from tests.functional.image.conftest import CHUNK, CTX, Site

BYTES = b"\xeb\x3c" + bytes(range(256)) * 1000
OTHER = b"\xeb\x3c" + bytes(reversed(range(256))) * 1000


class Token:
    """A cancel token that tells how often it was asked, and does something then."""

    def __init__(
        self, at_check: Callable[[int], None] | None = None, at_wait: Callable[[], None] | None = None
    ) -> None:
        self._at_check = at_check or (lambda _: None)
        self._at_wait = at_wait or (lambda: None)
        self.checks = 0
        self.waits = 0

    def cancelled(self) -> bool:
        return False

    def check(self) -> None:
        self.checks += 1
        self._at_check(self.checks)

    def wait(self, timeout_s: float) -> bool:
        self.waits += 1
        self._at_wait()
        return False


@pytest.fixture
def image(site: Site) -> Image:
    return site.images.create(CTX, Image(id="", name="copy", format=ImageFormat.RAW))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    path.write_bytes(BYTES)
    return path


def target(site: Site, image: Image) -> UploadTarget:
    info = site.images.upload(CTX, image.id)
    return UploadTarget(image_id=image.id, url=info.url, token=info.token, chunk_bytes=info.chunk_bytes)


def assert_active(site: Site, image: Image, content: bytes = BYTES) -> None:
    found = site.images.show(CTX, image.id)
    assert (found.status, found.sha256) == (ImageStatus.ACTIVE, hashlib.sha256(content).hexdigest())
    assert site.depot.store.path(image.id).read_bytes() == content


def test_sent_and_checked(site: Site, image: Image, copy: Path) -> None:
    Uploader(site.runtime).upload(copy, target(site, image), Token())
    assert_active(site, image)


def test_again_with_another_copy_when_it_was_done(site: Site, image: Image, copy: Path) -> None:
    to = target(site, image)
    Uploader(site.runtime).upload(copy, to, Token())
    copy.write_bytes(OTHER)
    Uploader(site.runtime).upload(copy, to, Token())
    assert_active(site, image)


def test_what_is_left_of_another_copy_is_forgotten(site: Site, image: Image, copy: Path) -> None:
    """As an agent leaves it that was killed in the middle and took a new snapshot."""
    site.depot.receive(image.id, 0, OTHER[:CHUNK])
    Uploader(site.runtime).upload(copy, target(site, image), Token())
    assert_active(site, image)


def test_bytes_that_are_not_those_that_were_sent_are_no_image(site: Site, image: Image) -> None:
    site.depot.receive(image.id, 0, OTHER[:CHUNK])
    with pytest.raises(errors.ImageChecksumMismatch):
        site.depot.complete(image.id, CHUNK, hashlib.sha256(BYTES[:CHUNK]).hexdigest())
    assert site.images.show(CTX, image.id).status is ImageStatus.ERROR


def test_a_torn_copy_is_no_image(site: Site, image: Image) -> None:
    site.depot.receive(image.id, 0, BYTES[:CHUNK])
    with pytest.raises(errors.InvalidImage, match=f"{len(BYTES)} were said"):
        site.depot.complete(image.id, len(BYTES), "")


@pytest.mark.parametrize("at", [2, 4, 7])
def test_a_conductor_that_restarts_costs_nothing(site: Site, image: Image, copy: Path, at: int) -> None:
    """Before the first request, in the middle, and before the last; the connection breaks too."""

    def stop(number: int) -> None:
        if number == at:
            site.restart()

    Uploader(site.runtime).upload(copy, target(site, image), Token(at_check=stop))
    assert_active(site, image)


def test_a_depot_that_lost_bytes_gets_them_again(site: Site, image: Image, copy: Path) -> None:
    def lose(number: int) -> None:
        if number == 5:
            with suppress(FileNotFoundError):
                part = Path(site.settings.directory) / f"{image.id}.part"
                part.write_bytes(part.read_bytes()[:-1000])

    Uploader(site.runtime).upload(copy, target(site, image), Token(at_check=lose))
    assert_active(site, image)


def test_a_depot_that_stays_away(site: Site, image: Image, copy: Path) -> None:
    to = target(site, image)
    site.depot.stop()
    token = Token()
    with pytest.raises(errors.ImageUploadFailed) as raised:
        Uploader(site.runtime, patience_s=0.05).upload(copy, to, token)
    assert raised.value.retryable
    assert token.waits > 1
    assert to.token not in str(raised.value)
    assert to.token not in repr(raised.value.kwargs)


def test_a_refusal_is_told(site: Site, image: Image, copy: Path) -> None:
    copy.write_bytes(b"QFI\xfb" + bytes(1000))
    with pytest.raises(errors.ImageUploadFailed, match="declared raw, but the content is qcow2"):
        Uploader(site.runtime).upload(copy, target(site, image), Token())


def test_no_leave(site: Site, image: Image, copy: Path) -> None:
    to = target(site, image)
    bad = UploadTarget(image_id=to.image_id, url=to.url, token="1.bad", chunk_bytes=to.chunk_bytes)
    token = Token()
    with pytest.raises(errors.ImageUploadFailed, match="TokenRefused"):
        Uploader(site.runtime).upload(copy, bad, token)
    assert token.waits == 0


def test_an_image_that_was_deleted(site: Site, image: Image, copy: Path) -> None:
    to = target(site, image)
    site.images.delete(CTX, image.id)
    with pytest.raises(errors.ImageUploadFailed, match="ImageNotFound"):
        Uploader(site.runtime).upload(copy, to, Token())
    assert site.files() == []


def test_no_copy(site: Site, image: Image, tmp_path: Path) -> None:
    with pytest.raises(errors.ImageUploadFailed, match="No such file"):
        Uploader(site.runtime).upload(tmp_path / "none", target(site, image), Token())


@pytest.mark.parametrize("at", range(1, 7))
def test_cancelled(site: Site, image: Image, copy: Path, at: int) -> None:
    def cancel(number: int) -> None:
        if number >= at:
            raise errors.OperationCancelled(reason="test")

    with pytest.raises(errors.OperationCancelled):
        Uploader(site.runtime).upload(copy, target(site, image), Token(at_check=cancel))
    assert site.images.show(CTX, image.id).status is ImageStatus.QUEUED


def test_a_check_that_takes_long_is_asked_for_again(site: Site, image: Image, copy: Path) -> None:
    """The depot says 503 while another one checks, 202 while it does so itself."""
    to = target(site, image)
    held = site.depot.store._locked(Path(site.settings.directory) / f"{image.id}.part", 0)

    def hold(number: int) -> None:
        if number == 7:  # all sent, about to be checked
            held.__enter__()

    def release() -> None:
        if not released:
            released.append(True)
            held.__exit__(None, None, None)

    released: list[bool] = []
    token = Token(at_check=hold, at_wait=release)
    Uploader(site.runtime).upload(copy, to, token)
    assert released
    assert_active(site, image)

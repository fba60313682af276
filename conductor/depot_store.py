"""The depot's files: ``<id>.part`` while bytes come, ``<id>`` once they were checked, ``<id>.refused`` why not.

All conductors of a fleet share the directory. A file's ``flock`` keeps writers and the check apart, between
threads and between processes, and falls with a process that is killed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from drover import errors
from drover.image_format import ImageFacts, inspect
from drover.objects import codec
from drover.objects.catalog import Image
from drover.objects.operation import ErrorInfo

__all__ = ["Checked", "DepotStore"]

_READ_BYTES = 1024 * 1024
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the bytes of an image were found to be."""

    facts: ImageFacts
    sha256: str


class DepotStore:
    """Image ids are file names here: callers have made sure that they are UUIDs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)

    def path(self, image_id: str) -> Path:
        """Of the checked image."""
        return self._directory / image_id

    def size(self, image_id: str) -> int:
        """Bytes that are here, checked or not."""
        for path in (self.path(image_id), self._part(image_id)):
            with suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def append(self, image_id: str, offset: int, chunk: bytes) -> int:
        """Add a chunk; how many bytes are here then.

        A chunk that does not fit on the disk leaves nothing; one cut by a crash may leave its beginning.

        :raises errors.OffsetMismatch: the bytes that are here do not end at *offset*.
        :raises errors.DiskFull: the chunk did not fit.
        :raises errors.Unavailable: another writer or the check is at it.
        """
        if self.path(image_id).exists():
            raise errors.OffsetMismatch(image=image_id, size_bytes=self.size(image_id), offset=offset)
        with self._locked(self._part(image_id), os.O_RDWR | os.O_CREAT) as file:
            size = os.fstat(file).st_size
            if size != offset:
                raise errors.OffsetMismatch(image=image_id, size_bytes=size, offset=offset)
            try:
                _write_all(file, chunk, offset)
            except OSError as exc:
                os.ftruncate(file, offset)
                if exc.errno in _NO_SPACE:
                    raise errors.DiskFull(what=f"image {image_id}", path=str(self._directory)) from None
                raise
        return offset + len(chunk)

    def restart(self, image_id: str) -> int:
        """Forget bytes that were not checked; how many are here then: 0, or all of a checked image.

        :raises errors.Unavailable: a writer or the check is at it.
        """
        with suppress(FileNotFoundError), self._locked(self._part(image_id), os.O_RDWR) as file:
            os.ftruncate(file, 0)
        return self.size(image_id)

    def check(self, image: Image, limit_gib: int) -> Checked:
        """Compare size, sha256 and format with what *image* says, make the bytes durable and final. Repeatable.

        :raises errors.InvalidImage: and its kinds: the bytes are not what was said; they are still here.
        :raises errors.Unavailable: a writer or another check is at it.
        """
        final = self.path(image.id)
        found = final if final.exists() else self._part(image.id)
        try:
            with self._locked(found, os.O_RDONLY) as file:
                size = os.fstat(file).st_size
                if image.size_bytes and size != image.size_bytes:
                    raise errors.InvalidImage(image=image.id, reason=f"{size} bytes came, {image.size_bytes} were said")
                sha256 = _sha256(file)
                if image.sha256 and sha256 != image.sha256:
                    raise errors.ImageChecksumMismatch(image=image.id, actual=sha256, expected=image.sha256)
                facts = inspect(found, image.format, image=image.id, limit_gib=limit_gib)
                os.fsync(file)
                found.replace(final)
                _sync_directory(self._directory)
        except FileNotFoundError:
            raise errors.InvalidImage(image=image.id, reason="no bytes came") from None
        return Checked(facts=facts, sha256=sha256)

    def note_refusal(self, image_id: str, error: ErrorInfo) -> None:
        """Keep why the check refused an image, for whoever asks later and elsewhere."""
        self._refusal(image_id).write_text(codec.to_json(error))

    def refusal(self, image_id: str) -> ErrorInfo | None:
        """What :meth:`note_refusal` kept."""
        try:
            return codec.from_json(self._refusal(image_id).read_bytes(), ErrorInfo)
        except (FileNotFoundError, errors.BadRequest):
            return None

    def remove_bytes(self, image_id: str) -> None:
        """Of an image, checked or not. None here is fine."""
        for path in (self.path(image_id), self._part(image_id)):
            path.unlink(missing_ok=True)

    def remove(self, image_id: str) -> None:
        """Everything of an image. None here is fine."""
        self.remove_bytes(image_id)
        self._refusal(image_id).unlink(missing_ok=True)

    def image_ids(self) -> set[str]:
        """Of every image that has a file here."""
        return {path.name.partition(".")[0] for path in self._directory.iterdir()}

    def _part(self, image_id: str) -> Path:
        return self._directory / f"{image_id}.part"

    def _refusal(self, image_id: str) -> Path:
        return self._directory / f"{image_id}.refused"

    @contextmanager
    def _locked(self, path: Path, flags: int) -> Iterator[int]:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise errors.Unavailable(what=f"image {path.name}", detail="it is being written or checked") from None
            if not _is_still(file, path):
                # Between open and lock a check finished (rename) or a delete came.
                raise errors.Unavailable(what=f"image {path.name}", detail="it has just changed")
            yield file
        finally:
            os.close(file)


def _is_still(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _write_all(file: int, chunk: bytes, offset: int) -> None:
    rest = memoryview(chunk)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _sha256(file: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while block := os.pread(file, _READ_BYTES, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _sync_directory(directory: Path) -> None:
    """Make a rename in it durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

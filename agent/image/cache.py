"""The images that this host has: fetched once, checked, then never changed.

A cached image is ``<id>.<format>``, mode 0444, with a marker ``<id>.<format>.json`` that says what was checked.
Bytes come into ``….part`` and get their name only when they are durable and right, so a
crash at any point leaves either a whole image or rubbish that the next start removes.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from agent.image.fetcher import Fetcher
from agent.image.uploader import Uploader
from agent.virt.driver import CancelToken
from drover import errors, log, retry
from drover.image_format import inspect
from drover.objects import codec
from drover.objects.catalog import ImageFormat
from drover.objects.guest import ImageSource, UploadTarget
from drover.runtime import Event, Runtime
from drover.units import GIB

__all__ = ["FetchTimes", "ImageCache"]

LOG = log.get(__name__)

_READ_BYTES = 1024 * 1024
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: seconds between looks at the cancel token while another task downloads
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marker:
    """What a cached file was found to be."""

    size_bytes: int
    sha256: str


codec.prepare(_Marker)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTimes:
    """Seconds. The patience outlasts the restart of a conductor or of an image server."""

    timeout_s: float = 600.0
    patience_s: float = 60.0


class _Download:
    """One download and those who wait for it; its fields are guarded by the cache's gate until ``done``."""

    __slots__ = ("done", "error", "waiters")

    def __init__(self, done: Event) -> None:
        self.done = done
        self.error: errors.DroverError | None = None
        self.waiters = 0


class ImageCache:
    """Implements :class:`agent.virt.driver.Images`.

    :param directory: of this agent alone; what an earlier run left half-done in it is removed.
    :param limit_gib: most GiB of one image, of its bytes and of its virtual disk.
    :param times: how long one download may take, and how long to try again after a failure, in seconds.
    :raises OSError: the directory cannot be made.
    """

    def __init__(
        self,
        runtime: Runtime,
        directory: Path,
        fetcher: Fetcher,
        *,
        limit_gib: int = 1024,
        times: FetchTimes | None = None,
    ) -> None:
        self._runtime = runtime
        self._directory = directory
        self._fetcher = fetcher
        self._uploader = Uploader(runtime)
        self._limit_gib = limit_gib
        self._timeout_s = (times or FetchTimes()).timeout_s
        self._patience_s = (times or FetchTimes()).patience_s
        self._gate = runtime.lock()  # protects _downloads and what is in them
        self._downloads: dict[Path, _Download] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob("*.part"):
            left.unlink(missing_ok=True)

    def ensure(self, source: ImageSource, cancel: CancelToken) -> str:
        """The path of the cached, checked image.

        A waiter that is cancelled leaves at once; the download goes on for the others and ends with the last.

        :raises errors.ImageFetchFailed: (retryable) cut, refused, too slow, not reachable.
        :raises errors.InvalidImage: and its kinds: the bytes are not what was said, or not safe.
        :raises errors.DiskFull: errors.OperationCancelled:
        """
        cancel.check()
        path = self._path(source)
        with self._gate:
            download = self._downloads.get(path)
            if download is None:
                if _is_cached(path, source):
                    return str(path)
                download = self._downloads[path] = _Download(self._runtime.event())
                self._runtime.spawn(f"image {source.id}", partial(self._run, source, path, download))
            download.waiters += 1
        try:
            while not download.done.wait(_LOOK_S):
                cancel.check()
        finally:
            self._leave(path, download)
        if download.error is not None:
            raise errors.from_dict(download.error.to_dict())  # one object for several tasks would mix tracebacks
        return str(path)

    def upload(self, path: str, target: UploadTarget, cancel: CancelToken) -> None:
        """See :meth:`agent.virt.driver.Images.upload`."""
        self._uploader.upload(Path(path), target, cancel)

    def _path(self, source: ImageSource) -> Path:
        image_format = ImageFormat(source.format).value
        if not source.id or not all(c.isalnum() or c == "-" for c in source.id):
            raise errors.InvalidImage(image=source.id, reason="its id is no file name")
        return self._directory / f"{source.id}.{image_format}"

    def _leave(self, path: Path, download: _Download) -> None:
        with self._gate:
            download.waiters -= 1
            if download.waiters == 0 and self._downloads.get(path) is download:
                # Nobody wants it: it sees that and ends; who comes now begins anew, in a file of its own.
                del self._downloads[path]

    def _run(self, source: ImageSource, path: Path, download: _Download) -> None:
        started = self._runtime.clock.monotonic()
        try:
            self._fetch(source, path, download, started + self._timeout_s)
        except errors.DroverError as exc:
            download.error = exc
        except OSError as exc:
            download.error = self._disk_error(exc, source)
        except Exception as exc:
            LOG.exception("image fetch broke", image=source.id)
            download.error = errors.ImageFetchFailed(image=source.id, detail=repr(exc))
        took_s = round(self._runtime.clock.monotonic() - started, 3)
        if download.error is None:
            LOG.info("image fetched", image=source.id, took_s=took_s)
        else:
            LOG.warning("image not fetched", image=source.id, took_s=took_s, error=download.error)
        with self._gate:
            if self._downloads.get(path) is download:
                del self._downloads[path]
        download.done.set()

    def _fetch(self, source: ImageSource, path: Path, download: _Download, deadline: float) -> None:
        """Try, and try again while the far side is away: a conductor that restarts must cost no build."""
        attempt = partial(self._attempt, source, path, download, deadline)
        try:
            try:
                attempt()
            except errors.Unavailable:
                retry.while_unavailable(self._runtime, attempt, patience_s=self._patience_s)
        except errors.Unavailable as exc:
            raise errors.ImageFetchFailed(image=source.id, detail=exc.message) from None

    def _attempt(self, source: ImageSource, path: Path, download: _Download, deadline: float) -> None:
        name = f"{path.name}.{self._runtime.uuid()}"
        part, marker_part = path.with_name(f"{name}.part"), path.with_name(f"{name}.json.part")
        try:
            with part.open("xb") as file:
                sha256 = self._copy(source, file, download, deadline)
                _make_durable(file)
            facts = inspect(part, ImageFormat(source.format), image=source.id, limit_gib=self._limit_gib)
            with marker_part.open("xb") as file:
                file.write(codec.to_json(_Marker(size_bytes=facts.size_bytes, sha256=sha256)).encode())
                _make_durable(file)
            self._publish(path, part, marker_part, download)
        except Exception:
            part.unlink(missing_ok=True)
            marker_part.unlink(missing_ok=True)
            raise

    def _publish(self, path: Path, part: Path, marker_part: Path, download: _Download) -> None:
        with self._gate:
            if self._downloads.get(path) is not download:
                raise errors.OperationCancelled(reason="nobody waits for the image any more")
            # The marker first: without the image beside it, it means nothing.
            marker_part.replace(_marker_path(path))
            part.replace(path)
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _copy(self, source: ImageSource, file: BinaryIO, download: _Download, deadline: float) -> str:
        """The SHA-256 of what was copied, in hex."""
        most = source.size_bytes or self._limit_gib * GIB
        digest = hashlib.sha256()
        size = 0
        with self._fetcher.open(source) as stream:
            while block := stream.read(_READ_BYTES):
                size += len(block)
                if size > most:
                    raise errors.ImageFetchFailed(image=source.id, detail=f"more than the {most} bytes expected")
                if self._runtime.clock.monotonic() > deadline:
                    detail = f"{size} bytes in {self._timeout_s} s, given up"
                    raise errors.ImageFetchFailed(image=source.id, detail=detail)
                self._check_wanted(download)
                digest.update(block)
                file.write(block)
            said = stream.length
        if said is not None and size != said:
            raise errors.Unavailable(what="image source", detail=f"cut after {size} of {said} bytes")
        if source.size_bytes and size != source.size_bytes:
            detail = f"{size} bytes came, {source.size_bytes} expected"
            raise errors.ImageFetchFailed(image=source.id, detail=detail)
        sha256 = digest.hexdigest()
        if source.sha256 and sha256 != source.sha256:
            raise errors.ImageChecksumMismatch(image=source.id, actual=sha256, expected=source.sha256)
        return sha256

    def _check_wanted(self, download: _Download) -> None:
        with self._gate:
            if download.waiters == 0:
                raise errors.OperationCancelled(reason="nobody waits for the image any more")

    def _disk_error(self, exc: OSError, source: ImageSource) -> errors.DroverError:
        if exc.errno in _NO_SPACE:
            return errors.DiskFull(what=f"image {source.id}", path=str(self._directory))
        return errors.ImageFetchFailed(image=source.id, detail=f"{self._directory}: {exc}")


def _marker_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _is_cached(path: Path, source: ImageSource) -> bool:
    """Cheap on purpose: the marker was written after a whole check, and nobody changes a cached file."""
    try:
        marker = codec.from_json(_marker_path(path).read_bytes(), _Marker)
        size_bytes = path.stat().st_size
    except (FileNotFoundError, errors.BadRequest):
        return False
    return size_bytes == marker.size_bytes and source.sha256 in ("", marker.sha256)


def _make_durable(file: BinaryIO) -> None:
    """And read-only: nothing changes it from here on."""
    file.flush()
    os.fchmod(file.fileno(), 0o444)
    os.fsync(file.fileno())

"""The fake driver's image cache: no bytes come in; what goes out is a small blank disk."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from agent.image.uploader import Uploader
from agent.virt.driver import CancelToken
from drover.conf.fake import FakeSettings
from drover.objects.guest import ImageSource, UploadTarget
from drover.runtime import Lock, Runtime

__all__ = ["DISK_BYTES", "FakeImages", "blank_qcow2"]

#: of a fake guest's disk, as its snapshots have it
DISK_BYTES = 1024 * 1024

_CLUSTER = 64 * 1024
#: docs/interop/qcow2.txt of QEMU, version 2: magic, version, backing file (offset, length), cluster bits, size,
#: encryption, L1 table (entries, offset), refcount table (offset, clusters), snapshots (number, offset)
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")

Upload = Callable[[str, UploadTarget, CancelToken], None]


class FakeImages:
    """The first to ask fetches, the others wait for it.

    :param upload: in place of sending a blank disk to the depot, for a world without one.
    """

    def __init__(self, runtime: Runtime, settings: FakeSettings, upload: Upload | None = None) -> None:
        self._settings = settings
        self._gate = runtime.lock()
        self._fetching: dict[str, Lock] = {}
        self._cached: set[str] = set()
        self._runtime = runtime
        self._upload = upload or self._send_blank
        self.fetches = 0

    def ensure(self, source: ImageSource, cancel: CancelToken) -> str:
        with self._gate:
            fetching = self._fetching.setdefault(source.id, self._runtime.lock())
        while not fetching.acquire(1.0):
            cancel.check()
        try:
            if source.id not in self._cached:
                cancel.check()
                if self._settings.image_latency_s > 0:
                    cancel.wait(self._settings.image_latency_s)
                    cancel.check()
                self.fetches += 1
                self._cached.add(source.id)
        finally:
            fetching.release()
        return f"/fake/images/{source.id}"

    def upload(self, path: str, target: UploadTarget, cancel: CancelToken) -> None:
        cancel.check()
        self._upload(path, target, cancel)

    def _send_blank(self, path: str, target: UploadTarget, cancel: CancelToken) -> None:  # noqa: ARG002
        with tempfile.NamedTemporaryFile(prefix="drover-fake-", suffix=".qcow2") as file:
            file.write(blank_qcow2(DISK_BYTES))
            file.flush()
            Uploader(self._runtime).upload(Path(file.name), target, cancel)


def blank_qcow2(size_bytes: int) -> bytes:
    """A whole qcow2 image of zeros, of at most 512 MiB: header, refcount table and block, L1 table, a cluster each."""
    header = _HEADER.pack(b"QFI\xfb", 2, 0, 0, 16, size_bytes, 0, 1, 3 * _CLUSTER, _CLUSTER, 1, 0, 0)
    table = struct.pack(">Q", 2 * _CLUSTER)
    counts = struct.pack(">4H", 1, 1, 1, 1)
    return b"".join(part.ljust(_CLUSTER, b"\0") for part in (header, table, counts, b""))

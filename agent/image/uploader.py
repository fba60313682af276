"""Sends the copy of a guest's disk to the depot and has it checked there.

Each call sends its file from the beginning: what the depot has may be of another copy, which an earlier
incarnation made and sent in part. Within a call a broken connection costs one chunk. With the end of the bytes go their
size and sha256, so that no mixture and no torn copy ever becomes an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, TypeVar

from agent.virt.driver import CancelToken
from drover import errors, log
from drover.depot import DepotDoor, refusal
from drover.objects.guest import UploadTarget
from drover.runtime import Runtime

__all__ = ["Uploader"]

LOG = log.get(__name__)

T = TypeVar("T")

_READ_BYTES = 1024 * 1024
#: seconds between tries while the depot is away, doubled up to the second; and between questions for its check
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_ASK_AGAIN_S = 0.5


class Uploader:
    """:param patience_s: how long to try again while the depot does not answer, counted anew for each chunk."""

    def __init__(self, runtime: Runtime, *, patience_s: float = 300.0) -> None:
        self._clock = runtime.clock
        self._patience_s = patience_s

    def upload(self, path: Path, target: UploadTarget, cancel: CancelToken) -> None:
        """See :meth:`agent.virt.driver.Images.upload`."""
        began_s = self._clock.monotonic()
        try:
            with path.open("rb") as source, closing(DepotDoor(target.url, target.image_id, target.token)) as door:
                size, sha256 = _measure(source, cancel)
                self._send(source, size, target, door, cancel)
                self._complete(f"/complete?size_bytes={size}&sha256={sha256}", target, door, cancel)
        except OSError as exc:
            raise errors.ImageUploadFailed(image=target.image_id, detail=str(exc)) from None
        took_s = round(self._clock.monotonic() - began_s, 3)
        LOG.info("image sent", image=target.image_id, size_bytes=size, took_s=took_s)

    def _send(self, source: BinaryIO, size: int, target: UploadTarget, door: DepotDoor, cancel: CancelToken) -> None:
        """All bytes, in chunks, from where the depot's bytes end; none when it has checked the image already."""
        at = self._patiently(partial(door.offset, "DELETE"), target, cancel)
        if at > 0:
            return
        while at < size:
            source.seek(at)
            chunk = source.read(target.chunk_bytes)
            try:
                at = self._patiently(partial(door.offset, "PUT", f"?offset={at}", chunk), target, cancel)
            except errors.OffsetMismatch as exc:
                # An earlier try arrived though its answer was lost, or the depot lost bytes in a crash.
                at = int(exc.kwargs["size_bytes"])
        if at > size:
            detail = f"the depot has {at} bytes, the copy only {size}"
            raise errors.ImageUploadFailed(image=target.image_id, detail=detail)

    def _complete(self, rest: str, target: UploadTarget, door: DepotDoor, cancel: CancelToken) -> None:
        def ask() -> bool:
            reply, text = door.ask("POST", rest)
            if reply.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                raise refusal(reply, text)
            return reply.status == HTTPStatus.OK

        while not self._patiently(ask, target, cancel):
            cancel.wait(_ASK_AGAIN_S)

    def _patiently(self, work: Callable[[], T], target: UploadTarget, cancel: CancelToken) -> T:
        """*work*, again while the depot is away.

        :raises errors.OperationCancelled: errors.OffsetMismatch: ImageUploadFailed for all other errors.
        """
        until_s, wait_s = self._clock.monotonic() + self._patience_s, _FIRST_WAIT_S
        while True:
            cancel.check()
            try:
                return work()
            except errors.OffsetMismatch:
                raise
            except errors.Unavailable as exc:
                if self._clock.monotonic() >= until_s:
                    raise errors.ImageUploadFailed(image=target.image_id, detail=exc.message) from None
                LOG.debug("depot does not answer", image=target.image_id, error=exc)
            except errors.DroverError as exc:
                detail = f"{exc.code}: {exc.message}"
                raise errors.ImageUploadFailed(image=target.image_id, detail=detail) from None
            cancel.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _measure(source: BinaryIO, cancel: CancelToken) -> tuple[int, str]:
    """Size and sha256 (hex) of the whole file."""
    digest = hashlib.sha256()
    while block := source.read(_READ_BYTES):
        cancel.check()
        digest.update(block)
    return source.tell(), digest.hexdigest()

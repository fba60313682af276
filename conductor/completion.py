"""The end of an upload: the bytes of a queued image are checked, and the image is active or refused.

Both doors lead here: ``image_complete`` of a user and ``POST /v1/images/{id}/complete`` of a host.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conductor.depot_store import DepotStore
from drover import errors, log
from drover.conf.depot import DepotSettings
from drover.db import image as image_rows
from drover.db.engine import Database
from drover.objects.catalog import Image, ImageStatus
from drover.objects.operation import ErrorInfo
from drover.runtime import Event, Runtime

__all__ = ["Completion", "forget_deleted"]

LOG = log.get(__name__)

#: seconds that :meth:`Completion.complete` waits for the check: well under the RPC timeout
_CHECK_WAIT_S = 5.0


def forget_deleted(database: Database, store: DepotStore, image_id: str) -> bool:
    """Remove what is here of an image whose record says deleted; whether it does.

    A delete writes the record, then removes the files. Whoever made one asks here afterwards: the delete may have
    been done with the files when it came.
    """
    with database.read() as conn:
        if image_id not in image_rows.deleted(conn, [image_id]):
            return False
    store.remove(image_id)
    return True


class Completion:
    """Thread-safe. The lock of an image's file keeps checks of other conductors apart."""

    def __init__(self, database: Database, runtime: Runtime, settings: DepotSettings) -> None:
        self._database = database
        self._runtime = runtime
        self._settings = settings
        self._store = DepotStore(Path(settings.directory))
        self._gate = runtime.lock()  # protects _checks
        self._checks: dict[str, _Check] = {}

    def complete(self, image_id: str, *, size_bytes: int = 0, sha256: str = "") -> Image:
        """Check the bytes that came. Repeatable; a check that takes long goes on, and the image comes back as
        ``queued``: ask again.

        :param size_bytes: and sha256: of what the sender sent, for an image whose row does not say (0, "").
        :raises errors.InvalidImage: and its kinds: refused; the image is in ``error``, the bytes are removed.
        :raises errors.ImageNotFound: no such image. Unavailable: a writer or another conductor's check is at it.
        """
        found = self._find(image_id)
        if found.status is ImageStatus.QUEUED:
            said = replace(found, size_bytes=found.size_bytes or size_bytes, sha256=found.sha256 or sha256)
            check = self._start_check(said)
            check.done.wait(_CHECK_WAIT_S)
            if check.error is not None:
                raise check.error
            found = self._find(image_id)
        if found.status is ImageStatus.ERROR:
            refusal = self._store.refusal(found.id)
            if refusal is not None:
                raise errors.from_dict({"code": refusal.code, "message": refusal.message, "params": refusal.params})
            raise errors.InvalidImage(image=found.id, reason="it was refused before")
        return found

    def _find(self, image_id: str) -> Image:
        with self._database.read() as conn:
            found = image_rows.find(conn, image_id)
        if found is None:
            raise errors.ImageNotFound(ref=image_id)
        return found

    def _start_check(self, image: Image) -> _Check:
        """One check of an image at a time in this conductor."""
        with self._gate:
            check = self._checks.get(image.id)
            if check is None:
                check = self._checks[image.id] = _Check(self._runtime.event())
                self._runtime.spawn(f"check image {image.id}", lambda: self._run_check(image, check))
        return check

    def _run_check(self, image: Image, check: _Check) -> None:
        try:
            self._judge(image)
        except errors.DroverError as exc:
            check.error = exc
        except OSError as exc:
            check.error = errors.Unavailable(what="depot storage", detail=str(exc))
        finally:
            with self._gate:
                del self._checks[image.id]
            check.done.set()

    def _judge(self, image: Image) -> None:
        """:raises errors.ImageNotFound: it was deleted meanwhile. Others as the check."""
        try:
            self._check(image)
        finally:
            if forget_deleted(self._database, self._store, image.id):
                raise errors.ImageNotFound(ref=image.id)

    def _check(self, image: Image) -> None:
        try:
            checked = self._store.check(image, self._settings.max_image_gib)
        except errors.InvalidImage as exc:
            self._refuse(image, exc)
            raise
        with self._database.write() as conn:
            active = image_rows.activate(
                conn,
                image.id,
                size_bytes=checked.facts.size_bytes,
                virtual_size_bytes=checked.facts.virtual_size_bytes,
                sha256=checked.sha256,
            )
        if active:
            LOG.info("image active", image=image.id, name=image.name, size_bytes=checked.facts.size_bytes)

    def _refuse(self, image: Image, error: errors.InvalidImage) -> None:
        """Reason, row, bytes, in this order: a crash in between leaves a check that can be repeated or a sweep."""
        self._store.note_refusal(image.id, ErrorInfo(code=error.code, message=error.message, params=error.kwargs))
        with self._database.write() as conn:
            refused = image_rows.refuse(conn, image.id)
        if refused:
            self._store.remove_bytes(image.id)
            LOG.warning("image refused", image=image.id, name=image.name, error=error)


class _Check:
    """A running check, for those who wait for it."""

    __slots__ = ("done", "error")

    def __init__(self, done: Event) -> None:
        self.done = done
        self.error: errors.DroverError | None = None

"""Images: created, filled, checked, listed and deleted.

``queued → active`` when the depot has the bytes and they are what was said, ``queued → error`` when they are
not. An image with a URL is ``active`` at once; each host checks what it fetches.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from platform import node

from conductor.completion import Completion
from conductor.depot_store import DepotStore
from conductor.rule.image import check_image
from conductor.rule.page import check_limit
from drover import errors, log
from drover.conf.depot import DepotSettings
from drover.db import image as image_rows
from drover.db.engine import Database
from drover.depot import TokenPurpose, make_token
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.objects.guest import ImageSource, UploadTarget
from drover.objects.page import EVERY_IMAGE, ImageFilter
from drover.rpc.conductor import DepotInfo
from drover.rpc.context import RequestContext
from drover.runtime import Runtime

__all__ = ["ImageWorkflow", "depot_url", "image_source", "upload_target"]

LOG = log.get(__name__)


class ImageWorkflow:
    """The ``image_*`` methods of :class:`drover.rpc.conductor.ConductorAPI`."""

    def __init__(self, database: Database, runtime: Runtime, settings: DepotSettings, depot_key: str) -> None:
        self._database = database
        self._runtime = runtime
        self._settings = settings
        self._key = depot_key
        self._store = DepotStore(Path(settings.directory))
        self._completion = Completion(database, runtime, settings)

    def create(self, ctx: RequestContext, image: Image) -> Image:
        """Write the row. With an ``id`` of the caller's the call may be repeated.

        :raises errors.InvalidName: errors.InvalidImage: a field is not possible; nothing was written.
        :raises errors.IdempotencyMismatch: the id is that of another image. StoreConflict: of a deleted one.
        """
        check_image(image, self._settings)
        now = self._runtime.clock.now()
        status = ImageStatus.ACTIVE if image.url else ImageStatus.QUEUED
        new = replace(image, id=image.id or self._runtime.uuid(), status=status, virtual_size_bytes=0, created_at=now)
        with self._database.write() as conn:
            known = image_rows.find(conn, new.id)
            if known is None:
                image_rows.add(conn, new, now)
        if known is None:
            LOG.info("image created", image=new.id, name=new.name, request_id=ctx.request_id)
        elif _asked(known) != _asked(new):
            raise errors.IdempotencyMismatch(key=new.id)
        return known or new

    def upload(self, ctx: RequestContext, image: str) -> DepotInfo:
        """Leave to send the bytes of a queued image.

        :raises errors.InvalidImage: it takes no bytes. ImageNotFound, AmbiguousName.
        """
        found = self.show(ctx, image)
        if found.status is not ImageStatus.QUEUED:
            raise errors.InvalidImage(image=image, reason=f"it is {found.status.value} and takes no bytes")
        expires = self._runtime.clock.now() + timedelta(seconds=self._settings.write_token_s)
        token = make_token(self._key, TokenPurpose.WRITE, found.id, expires)
        url = self._settings.upload_url.rstrip("/") or depot_url(self._settings)
        return DepotInfo(url=url, token=token, chunk_bytes=self._settings.chunk_bytes)

    def complete(self, ctx: RequestContext, image: str) -> Image:
        """Check the bytes that came. Repeatable; a check that takes long goes on, and the image comes back as
        ``queued``: ask again.

        :raises errors.InvalidImage: and its kinds: refused; the image is in ``error``, the bytes are removed.
        """
        return self._completion.complete(self.show(ctx, image).id)

    def list(self, _ctx: RequestContext, query: ImageFilter = EVERY_IMAGE) -> tuple[Image, ...]:
        """Oldest first."""
        check_limit(query.limit)
        with self._database.read() as conn:
            return image_rows.list_all(conn, query)

    def show(self, ctx: RequestContext, image: str) -> Image:  # noqa: ARG002  the contract gives it
        """:raises errors.ImageNotFound: errors.AmbiguousName:"""
        with self._database.read() as conn:
            return image_rows.resolve(conn, image)

    def delete(self, ctx: RequestContext, image: str) -> Image:
        """Delete it, whoever uses it: guests that run keep their host's cached copy, as in Nova.

        Builds that have not fetched it yet fail.

        :raises errors.InUse: it is the disk of a shelved instance.
        """
        now = self._runtime.clock.now()
        with self._database.write() as conn:
            found = image_rows.resolve(conn, image, lock=True)  # no shelve ends in between
            if shelved := image_rows.shelved(conn, found.id):
                raise errors.InUse(what="image", ref=found.name, users=f"the shelved instance {shelved}")
            image_rows.mark_deleted(conn, found.id, now)
        # A crash here leaves bytes without an image; the depot removes them at its next start.
        self._store.remove(found.id)
        LOG.info("image deleted", image=found.id, name=found.name, request_id=ctx.request_id)
        return found


def _asked(image: Image) -> tuple[object, ...]:
    """What a caller chose and nothing changes later."""
    minimum = (image.min_memory_mib, image.min_disk_gib)
    return image.name, image.format, image.url, image.architecture, image.virt_type, minimum


def depot_url(settings: DepotSettings) -> str:
    """The depot as agents reach it."""
    scheme = "https" if settings.tls_cert_file else "http"
    return settings.url.rstrip("/") or f"{scheme}://{node()}:{settings.listen_port}"


def image_source(image: Image, settings: DepotSettings, depot_key: str, now: datetime) -> ImageSource:
    """Where a host gets the bytes of an image, with leave to read them for ``read_token_s`` from *now*."""
    url, token = image.url, ""
    if not url:
        url = f"{depot_url(settings)}/v1/images/{image.id}"
        token = make_token(depot_key, TokenPurpose.READ, image.id, now + timedelta(seconds=settings.read_token_s))
    return ImageSource(
        id=image.id,
        format=ImageFormat(image.format).value,
        sha256=image.sha256,
        size_bytes=image.size_bytes,
        virtual_size_bytes=image.virtual_size_bytes,
        url=url,
        token=token,
    )


def upload_target(image_id: str, settings: DepotSettings, depot_key: str, expires: datetime) -> UploadTarget:
    """Where a host sends the bytes of an image, with leave to do so until *expires*."""
    return UploadTarget(
        image_id=image_id,
        url=depot_url(settings),
        token=make_token(depot_key, TokenPurpose.WRITE, image_id, expires),
        chunk_bytes=settings.chunk_bytes,
    )

"""Images: rows in, values out. A deleted image keeps its row, for instances that were made from it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, tuple_, update

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db.bulk import among, listed
from drover.db.page import begins
from drover.db.schema import image, instance
from drover.objects import codec
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.objects.page import EVERY_IMAGE, ImageFilter

__all__ = [
    "activate",
    "add",
    "drop",
    "find",
    "get_many",
    "list_all",
    "mark_deleted",
    "refuse",
    "resolve",
    "shelved",
    "statuses",
]


def to_value(row: Row[Any]) -> Image:
    """One row of :data:`drover.db.schema.image`."""
    return Image(
        id=row.id,
        name=row.name,
        status=ImageStatus(row.status),
        format=ImageFormat(row.format),
        size_bytes=row.size_bytes,
        virtual_size_bytes=row.virtual_size_bytes,
        sha256=row.sha256,
        url=row.url,
        architecture=row.architecture,
        virt_type=row.virt_type,
        min_memory_mib=row.min_memory_mib,
        min_disk_gib=row.min_disk_gib,
        properties=codec.from_json(row.properties, dict[str, str]) if row.properties != "{}" else {},
        created_at=from_iso(row.created_at),
    )


def add(conn: Connection, new: Image, now: datetime) -> None:
    """Insert *new* as created at *now*.

    :raises errors.StoreConflict: the id is taken (also by a deleted image).
    """
    conn.execute(
        insert(image).values(
            id=new.id,
            name=new.name,
            status=new.status.value,
            format=new.format.value,
            size_bytes=new.size_bytes,
            virtual_size_bytes=new.virtual_size_bytes,
            sha256=new.sha256,
            url=new.url,
            architecture=new.architecture,
            virt_type=new.virt_type,
            min_memory_mib=new.min_memory_mib,
            min_disk_gib=new.min_disk_gib,
            properties=codec.to_json(new.properties),
            created_at=to_iso(now),
        )
    )


def find(conn: Connection, image_id: str) -> Image | None:
    """The image with this id, unless it is deleted."""
    row = conn.execute(select(image).where(image.c.id == image_id, image.c.deleted_at.is_(None))).first()
    return to_value(row) if row else None


def resolve(conn: Connection, ref: str, *, lock: bool = False) -> Image:
    """The image with this id, else the only one with this name; deleted ones do not count.

    :param lock: nobody else changes or deletes it, or looks at its status under lock, until the transaction ends.
    :raises errors.ImageNotFound: none.
    :raises errors.AmbiguousName: several have the name; the error lists their ids.
    """
    rows = conn.execute(_RESOLVE_LOCKED if lock else _RESOLVE, {"ref": ref}).all()
    rows = [row for row in rows if row.id == ref] or rows
    if not rows:
        raise errors.ImageNotFound(ref=ref)
    if len(rows) > 1:
        raise errors.AmbiguousName(what="image", ref=ref, candidates=", ".join(row.id for row in rows))
    return to_value(rows[0])


_RESOLVE = (
    select(image)
    .where(or_(image.c.id == bindparam("ref"), image.c.name == bindparam("ref")), image.c.deleted_at.is_(None))
    .order_by(image.c.id)
)
_RESOLVE_LOCKED = _RESOLVE.with_for_update()


def get_many(conn: Connection, ids: Collection[str]) -> dict[str, Image]:
    """Images by id, deleted ones too: an order for an instance outlives its image."""
    return {row.id: to_value(row) for row in conn.execute(_GET_MANY, {"ids": listed(ids)})}


_GET_MANY = select(image).where(among(image.c.id, bindparam("ids")))


def list_all(conn: Connection, only: ImageFilter = EVERY_IMAGE) -> tuple[Image, ...]:
    """Those that are not deleted, oldest first."""
    i = image.c
    found = select(image).where(i.deleted_at.is_(None)).order_by(i.created_at, i.id)
    if only.name:
        found = found.where(begins(i.name, only.name))
    if only.status is not None:
        found = found.where(i.status == only.status.value)
    if only.marker:
        after = select(i.created_at).where(i.id == only.marker).scalar_subquery()
        found = found.where(tuple_(i.created_at, i.id) > tuple_(after, only.marker))
    if only.limit:
        found = found.limit(only.limit)
    return tuple(to_value(row) for row in conn.execute(found))


def statuses(conn: Connection, ids: Collection[str], *, lock: bool = False) -> dict[str, ImageStatus]:
    """Of those among *ids* that exist and are not deleted.

    :param lock: and stay so until the transaction ends.
    """
    query = select(image.c.id, image.c.status).where(image.c.id.in_(sorted(set(ids))), image.c.deleted_at.is_(None))
    rows = conn.execute(query.order_by(image.c.id).with_for_update() if lock else query)
    return {row.id: ImageStatus(row.status) for row in rows}


def deleted(conn: Connection, ids: Collection[str]) -> set[str]:
    """Of those among *ids* that a record says were deleted; what no record knows is not among them."""
    query = select(image.c.id).where(image.c.id.in_(sorted(set(ids))), image.c.deleted_at.is_not(None))
    return set(conn.execute(query).scalars())


def activate(conn: Connection, image_id: str, *, size_bytes: int, virtual_size_bytes: int, sha256: str) -> bool:
    """``queued → active`` with what its bytes were found to be; ``False``: it was not queued any more."""
    changed = conn.execute(
        update(image)
        .where(image.c.id == image_id, image.c.status == ImageStatus.QUEUED.value, image.c.deleted_at.is_(None))
        .values(
            status=ImageStatus.ACTIVE.value,
            size_bytes=size_bytes,
            virtual_size_bytes=virtual_size_bytes,
            sha256=sha256,
        )
    )
    return changed.rowcount == 1


def refuse(conn: Connection, image_id: str) -> bool:
    """``queued → error``; ``False``: it was not queued any more."""
    changed = conn.execute(
        update(image)
        .where(image.c.id == image_id, image.c.status == ImageStatus.QUEUED.value, image.c.deleted_at.is_(None))
        .values(status=ImageStatus.ERROR.value)
    )
    return changed.rowcount == 1


def mark_deleted(conn: Connection, image_id: str, now: datetime) -> bool:
    """``False``: it was deleted before."""
    changed = conn.execute(
        update(image).where(image.c.id == image_id, image.c.deleted_at.is_(None)).values(deleted_at=to_iso(now))
    )
    return changed.rowcount == 1


def drop(conn: Connection, ids: Collection[str], now: datetime) -> None:
    """:func:`mark_deleted` for many."""
    if ids:
        conn.execute(_DROP, {"ids": listed(ids), "at": to_iso(now)})


_DROP = (
    update(image)
    .where(among(image.c.id, bindparam("ids")), image.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("at"))
)


def shelved(conn: Connection, image_id: str) -> str:
    """The name of the instance whose disk is this image while it is shelved, or ""."""
    i = instance.c
    # The second condition is that of the index.
    here = (i.shelved_image_id == image_id, i.shelved_image_id != "", i.deleted_at.is_(None))
    return conn.execute(select(i.name).where(*here).limit(1)).scalar() or ""

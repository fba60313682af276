"""Image rows on every database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from drover import errors
from drover.db import image as rows
from drover.db.engine import Database
from drover.objects.catalog import Image, ImageFormat, ImageStatus
from drover.objects.page import ImageFilter

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def an_image(number: int, **changes: object) -> Image:
    image = Image(id=f"00000000-0000-4000-8000-{number:012}", name=f"image-{number}")
    return replace(image, **changes)  # type: ignore[arg-type]


def put(db: Database, *images: Image) -> None:
    with db.write() as conn:
        for number, image in enumerate(images):
            rows.add(conn, image, NOW + timedelta(seconds=number))


def test_a_row_gives_back_the_value(db: Database) -> None:
    image = an_image(
        1,
        name="naïve ☃",
        status=ImageStatus.ACTIVE,
        format=ImageFormat.RAW,
        size_bytes=2**40,
        virtual_size_bytes=2**41,
        sha256="ab" * 32,
        url="http://images.test/x",
        architecture="aarch64",
        virt_type="kvm",
        min_memory_mib=512,
        min_disk_gib=3,
    )
    put(db, image)
    with db.read() as conn:
        assert rows.find(conn, image.id) == replace(image, created_at=NOW)
        assert rows.find(conn, "nothing") is None


def test_the_id_is_taken_once_even_by_a_deleted_image(db: Database) -> None:
    put(db, an_image(1))
    with db.write() as conn:
        rows.mark_deleted(conn, an_image(1).id, NOW)
    with pytest.raises(errors.StoreConflict):
        put(db, an_image(1))


def test_a_reference_is_an_id_first_and_a_name_second(db: Database) -> None:
    put(db, an_image(1, name="a"), an_image(2, name="b"))
    with db.read() as conn:
        assert rows.resolve(conn, an_image(1).id).name == "a"
        assert rows.resolve(conn, "b").id == an_image(2).id
        with pytest.raises(errors.ImageNotFound):
            rows.resolve(conn, "c")


def test_an_ambiguous_name_lists_its_candidates_until_one_is_left(db: Database) -> None:
    one, two = an_image(1, name="same"), an_image(2, name="same")
    put(db, two, one)
    with db.read() as conn, pytest.raises(errors.AmbiguousName) as caught:
        rows.resolve(conn, "same")
    assert caught.value.kwargs == {"what": "image", "ref": "same", "candidates": f"{one.id}, {two.id}"}
    with db.write() as conn:
        assert rows.mark_deleted(conn, one.id, NOW)
    with db.read() as conn:
        assert rows.resolve(conn, "same").id == two.id


def test_deleted_images_are_gone_but_for_orders(db: Database) -> None:
    put(db, an_image(1), an_image(2))
    with db.write() as conn:
        assert rows.mark_deleted(conn, an_image(1).id, NOW)
        assert not rows.mark_deleted(conn, an_image(1).id, NOW)
    with db.read() as conn:
        assert [image.id for image in rows.list_all(conn)] == [an_image(2).id]
        assert rows.find(conn, an_image(1).id) is None
        assert set(rows.statuses(conn, [an_image(1).id, an_image(2).id, "x"])) == {an_image(2).id}
        assert set(rows.get_many(conn, [an_image(1).id, an_image(2).id, "x"])) == {an_image(1).id, an_image(2).id}
        assert rows.get_many(conn, []) == {}


def test_the_list_begins_with_the_oldest(db: Database) -> None:
    put(db, an_image(3), an_image(1), an_image(2))
    with db.read() as conn:
        assert [image.id for image in rows.list_all(conn)] == [an_image(n).id for n in (3, 1, 2)]


def test_pages_hold_every_image_once_also_with_equal_times(db: Database) -> None:
    for number in (5, 2, 4, 1, 3):
        put(db, an_image(number, name=f"{'Web' if number == 3 else 'web'}-{number}"))  # all at one time
    seen: list[str] = []
    with db.read() as conn:
        for _ in range(3):
            query = ImageFilter(limit=2, marker=seen[-1] if seen else "")
            seen += [image.id for image in rows.list_all(conn, query)]
        assert seen == [an_image(number).id for number in (1, 2, 3, 4, 5)]
        assert [image.name for image in rows.list_all(conn, ImageFilter(name="Web"))] == ["Web-3"]
        assert rows.list_all(conn, ImageFilter(status=ImageStatus.ACTIVE)) == ()


def test_only_a_queued_image_becomes_active_or_refused_and_only_once(db: Database) -> None:
    facts = {"size_bytes": 5, "virtual_size_bytes": 7, "sha256": "cd" * 32}
    put(db, an_image(1), an_image(2), an_image(3))
    with db.write() as conn:
        assert rows.activate(conn, an_image(1).id, **facts)  # type: ignore[arg-type]
        assert not rows.activate(conn, an_image(1).id, **facts)  # type: ignore[arg-type]
        assert not rows.refuse(conn, an_image(1).id)
        assert rows.refuse(conn, an_image(2).id)
        assert not rows.activate(conn, an_image(2).id, **facts)  # type: ignore[arg-type]
        rows.mark_deleted(conn, an_image(3).id, NOW)
        assert not rows.activate(conn, an_image(3).id, **facts)  # type: ignore[arg-type]
        assert not rows.refuse(conn, an_image(3).id)
    with db.read() as conn:
        found = rows.find(conn, an_image(1).id)
        assert found == an_image(1, status=ImageStatus.ACTIVE, created_at=NOW, **facts)
        assert rows.statuses(conn, [an_image(2).id]) == {an_image(2).id: ImageStatus.ERROR}

"""What may be created as an image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conductor.rule.image import check_image
from drover import errors
from drover.conf.depot import DepotSettings
from drover.objects.catalog import Image
from drover.units import GIB

SETTINGS = DepotSettings(max_image_gib=10)
IMAGE = Image(id="6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f1", name="debian-12")


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        replace(IMAGE, id=""),
        replace(IMAGE, name="Debian 12 (bookworm), naïve"),
        replace(IMAGE, name="x" * 255),
        replace(IMAGE, sha256="0f" * 32, size_bytes=10 * GIB),
        replace(IMAGE, url="https://images.test/debian.qcow2?x=1"),
        replace(IMAGE, url="http://[::1]:8080/debian.qcow2"),
        replace(IMAGE, virt_type="qemu", min_memory_mib=2048, min_disk_gib=10),
    ],
)
def test_possible_images(image: Image) -> None:
    check_image(image, SETTINGS)


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "a\0b", "\u202eevil", "x" * 256, IMAGE.id, IMAGE.id.upper()])
def test_names_that_nobody_could_tell_or_type(name: str) -> None:
    with pytest.raises(errors.InvalidName):
        check_image(replace(IMAGE, name=name), SETTINGS)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (replace(IMAGE, id="../../etc/passwd"), "UUID"),
        (replace(IMAGE, id=IMAGE.id.upper()), "UUID"),
        (replace(IMAGE, sha256="0F" * 32), "sha256"),
        (replace(IMAGE, sha256="0f" * 31), "sha256"),
        (replace(IMAGE, size_bytes=-1), "size"),
        (replace(IMAGE, size_bytes=10 * GIB + 1), "size"),
        (replace(IMAGE, min_disk_gib=11), "min_disk_gib"),
        (replace(IMAGE, min_memory_mib=-1), "min_memory_mib"),
        (replace(IMAGE, virt_type="xen"), "virt_type"),
        (replace(IMAGE, architecture="X86 64"), "architecture"),
        (replace(IMAGE, url="ftp://images.test/x"), "scheme"),
        (replace(IMAGE, url="images.test/x"), "scheme"),
        (replace(IMAGE, url="file:///etc/shadow"), "allow_file_urls"),
        (replace(IMAGE, url="http:///x"), "host"),
        (replace(IMAGE, url="http://images.test:99999/x"), "[Pp]ort"),
        (replace(IMAGE, url="http://[::1/x"), "url"),
        (replace(IMAGE, url="http://u:p@images.test/x"), "credentials"),
        (replace(IMAGE, url="http://images.test/a b"), "spaces"),
        (replace(IMAGE, url="http://images.test/a\r\nHost: x"), "spaces"),
        (replace(IMAGE, url="http://images.test/" + "x" * 2048), "2048"),
    ],
)
def test_impossible_images(image: Image, reason: str) -> None:
    with pytest.raises(errors.InvalidImage, match=reason):
        check_image(image, SETTINGS)


def test_file_urls_where_the_operator_allows_them() -> None:
    allowing = replace(SETTINGS, allow_file_urls=True)
    check_image(replace(IMAGE, url="file:///srv/images/x.qcow2"), allowing)
    for bad in ("file:x.qcow2", "file://host/srv/x.qcow2"):
        with pytest.raises(errors.InvalidImage, match="absolute path"):
            check_image(replace(IMAGE, url=bad), allowing)

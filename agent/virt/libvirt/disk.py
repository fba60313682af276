"""The root disk: a qcow2 overlay on the cached image."""

from __future__ import annotations

import struct
from pathlib import Path

from agent.virt.driver import CancelToken
from agent.virt.libvirt.folder import Folder, partial_of, publish
from agent.virt.libvirt.program import run
from drover import errors
from drover.objects.catalog import ImageFormat
from drover.objects.guest import GuestSpec
from drover.runtime import Runtime
from drover.units import GIB

__all__ = ["create_overlay", "overlay_size", "virtual_size"]

#: qemu-img writes a few hundred KiB; minutes mean that the storage hangs
_TIMEOUT_S = 120.0
#: magic, then the virtual size in bytes (docs/interop/qcow2.txt of QEMU)
_QCOW2_HEADER = struct.Struct(">4s20xQ")


def overlay_size(image_bytes: int, disk_gib: int) -> int:
    """Bytes of the guest's disk: *disk_gib*, but never less than the image needs."""
    return max(image_bytes, disk_gib * GIB)


def virtual_size(path: Path, image_format: str) -> int:
    """Bytes of the disk that the cached image *path* describes; the cache has checked the rest of it.

    :raises errors.InvalidImage: declared qcow2, but it is not.
    :raises errors.DriverError: it cannot be read.
    """
    try:
        if image_format != ImageFormat.QCOW2:
            return path.stat().st_size
        with path.open("rb") as file:
            magic, size = _QCOW2_HEADER.unpack(file.read(_QCOW2_HEADER.size))
    except OSError as exc:
        raise errors.DriverError(operation="reading the image", detail=str(exc)) from exc
    except struct.error:
        magic = b""
    if magic != b"QFI\xfb":
        raise errors.InvalidImage(image=path.name, reason="declared qcow2, but it is not")
    return int(size)


def create_overlay(runtime: Runtime, spec: GuestSpec, image: Path, folder: Folder, cancel: CancelToken) -> None:
    """Make the disk unless it is there. It appears whole: written beside, brought to the platter, renamed.

    The backing format is written into the overlay: a guest that writes a qcow2 header into its raw disk must
    never have it believed.
    """
    if folder.disk.exists():
        return
    size = overlay_size(virtual_size(image, spec.image.format), spec.disk_gib)
    folder.make()
    partial = partial_of(folder.disk)
    # fmt: off
    argv = ["qemu-img", "create", "-q", "-f", "qcow2",
            "-F", spec.image.format, "-b", str(image.absolute()), str(partial), str(size)]
    # fmt: on
    run(runtime, argv, timeout_s=_TIMEOUT_S, cancel=cancel)
    publish(partial, folder.disk)

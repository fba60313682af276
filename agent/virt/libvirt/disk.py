"""The disks of a guest: qcow2 overlays on cached images."""

from __future__ import annotations

import struct
from pathlib import Path

from agent.virt.driver import CancelToken
from agent.virt.libvirt.folder import Folder, partial_of, publish, unlink
from agent.virt.libvirt.program import run
from drover import errors
from drover.objects.catalog import ImageFormat
from drover.objects.guest import GuestSpec
from drover.runtime import Runtime
from drover.units import GIB

__all__ = ["Disks", "cached_format", "overlay_size", "virtual_size"]

#: qemu-img writes a few hundred KiB; minutes mean that the storage hangs
_TIMEOUT_S = 120.0
#: the cancel token ends a copy long before; this is for a token that never does
_COPY_TIMEOUT_S = 24 * 3600.0
#: a copy is of no use to the next incarnation, and would keep the disk locked against a start of the guest
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
#: magic, then the virtual size in bytes (docs/interop/qcow2.txt of QEMU)
_QCOW2_HEADER = struct.Struct(">4s20xQ")


def overlay_size(image_bytes: int, disk_gib: int) -> int:
    """Bytes of the guest's disk: *disk_gib*, but never less than the image needs."""
    return max(image_bytes, disk_gib * GIB)


def cached_format(image: Path) -> str:
    """The format of a cached image: the cache has checked it, and names its files by it.

    :raises errors.InvalidImage: it is no such file.
    """
    try:
        return ImageFormat(image.suffix.removeprefix(".")).value
    except ValueError:
        raise errors.InvalidImage(image=image.name, reason="its name tells no format") from None


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


class Disks:
    """Each appears whole, or not at all: written beside, brought to the platter, renamed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def create(self, spec: GuestSpec, image: Path, folder: Folder, cancel: CancelToken) -> None:
        """The root disk, unless it is there."""
        if not folder.disk.exists():
            self.replace(spec, image, folder, cancel)

    def replace(self, spec: GuestSpec, image: Path, folder: Folder, cancel: CancelToken) -> None:
        """A fresh root disk, in the place of an old one that nobody uses."""
        size = overlay_size(virtual_size(image, spec.image.format), spec.disk_gib)
        self._overlay(image, spec.image.format, folder.disk, size, cancel)

    def create_rescue(self, image: Path, folder: Folder, cancel: CancelToken) -> None:
        """The rescue disk, as large as its image, unless it is there."""
        if not folder.rescue.exists():
            image_format = cached_format(image)
            self._overlay(image, image_format, folder.rescue, virtual_size(image, image_format), cancel)

    def copy(self, disk: Path, target: Path, cancel: CancelToken) -> None:
        """What *disk* and its backing file hold, as *target*, which depends on nothing. Nobody writes *disk*.

        :raises errors.DiskFull: no room. OperationCancelled: part of *target* may be there.
        """
        argv = [*_ENDS_WITH_US, "qemu-img", "convert", "-q", "-f", "qcow2", "-O", "qcow2", str(disk), str(target)]
        run(self._runtime, argv, timeout_s=_COPY_TIMEOUT_S, cancel=cancel)

    def _overlay(self, image: Path, image_format: str, path: Path, size: int, cancel: CancelToken) -> None:
        """The backing format is written into the overlay: a guest that writes a qcow2 header into its raw disk must
        never have it believed.
        """
        Folder(path.parent).make()
        partial = partial_of(path)
        # fmt: off
        argv = ["qemu-img", "create", "-q", "-f", "qcow2",
                "-F", image_format, "-b", str(image.absolute()), str(partial), str(size)]
        # fmt: on
        try:
            run(self._runtime, argv, timeout_s=_TIMEOUT_S, cancel=cancel)
            publish(partial, path)
        except errors.DroverError:
            unlink(partial)
            raise

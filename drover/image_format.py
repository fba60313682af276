"""What an image file really is, before anything on a host opens it.

An image comes from a stranger. QEMU follows what a qcow2 header says (a backing file, a data file), so a
header may name any file of the host, and a guest may write such a header into its own raw disk. Therefore
the content decides, never the declaration (CVE-2015-5163, CVE-2022-47951, CVE-2024-32498). oslo.utils
recognises the formats; the checks that its qcow2 inspector leaves out are here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from drover import errors
from drover.objects.catalog import ImageFormat
from drover.units import GIB, bytes_to_gib_ceil

__all__ = ["ImageFacts", "inspect"]

#: every known signature lies before this (VHDX reaches farthest, 192 KiB)
_HEAD_BYTES = 1024 * 1024
_READ_BYTES = 4096
_SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the content says."""

    format: ImageFormat
    size_bytes: int
    virtual_size_bytes: int


def inspect(path: Path, declared: ImageFormat, *, image: str, limit_gib: int) -> ImageFacts:
    """Read the head of *path* and judge it.

    :param image: name or id for the words of errors.
    :param limit_gib: most GiB of the virtual disk.
    :raises errors.ImageUnsafe: backing file, data file, encryption, unknown features or version.
    :raises errors.ImageTooLarge: the virtual disk is over the limit.
    :raises errors.InvalidImage: not of the declared format, of several formats at once, or damaged.
    :raises OSError: the file cannot be read.
    """
    size_bytes = path.stat().st_size
    if size_bytes < _SECTOR_BYTES:
        raise errors.InvalidImage(image=image, reason=f"{size_bytes} bytes are no disk")
    found = _detect(path, image)
    # A partition table makes no format: nothing on the host reads it, the guest does.
    really = "raw" if found == "gpt" else found
    if really != declared.value:
        raise errors.InvalidImage(image=image, reason=f"declared {declared.value}, but the content is {really}")
    virtual = size_bytes if declared is ImageFormat.RAW else _inspect_qcow2(path, image)
    if virtual > limit_gib * GIB:
        raise errors.ImageTooLarge(image=image, virtual_size_gib=bytes_to_gib_ceil(virtual), limit_gib=limit_gib)
    return ImageFacts(format=declared, size_bytes=size_bytes, virtual_size_bytes=virtual)


def _detect(path: Path, image: str) -> str:
    """The one format of the content, by oslo.utils' name; ``raw`` when it has no signature."""
    # Imported late: it pulls in cryptography, which only a process that inspects images should carry.
    from oslo_utils.imageutils import format_inspector

    with path.open("rb") as source:
        wrapper = format_inspector.InspectWrapper(source)
        while source.tell() < _HEAD_BYTES and wrapper.read(_READ_BYTES):
            pass
        wrapper.close()
    try:
        return str(wrapper.format)
    except format_inspector.ImageFormatError as exc:
        raise errors.InvalidImage(image=image, reason=str(exc)) from None


def _inspect_qcow2(path: Path, image: str) -> int:
    """The virtual size in bytes of a qcow2 file that is safe to open."""
    from oslo_utils.imageutils import format_inspector

    try:
        inspector = format_inspector.QcowInspector.from_file(str(path))
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as exc:
        reasons = "; ".join(str(failure) for failure in exc.failures.values())
        raise errors.ImageUnsafe(image=image, reason=reasons) from None
    except format_inspector.ImageFormatError as exc:
        raise errors.InvalidImage(image=image, reason=str(exc)) from None
    with path.open("rb") as source:
        cluster_bits, virtual, crypt_method = struct.unpack(">20xIQI", source.read(36))
    if crypt_method:
        raise errors.ImageUnsafe(image=image, reason="the image is encrypted")
    if not 9 <= cluster_bits <= 21:  # QEMU's own bounds
        raise errors.InvalidImage(image=image, reason=f"clusters of 2^{cluster_bits} bytes")
    if not virtual:
        raise errors.InvalidImage(image=image, reason="the virtual disk is empty")
    return int(virtual)

"""Images."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from conductor.rule.wish import property_faults
from drover import errors
from drover.conf.depot import DepotSettings
from drover.objects.catalog import Image
from drover.objects.name import check_name
from drover.units import GIB

__all__ = ["check_image"]

#: lower case alone: it becomes a file's name
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARCHITECTURE = re.compile(r"[a-z0-9_]{1,32}")
_URL_MAX = 2048
_MEMORY_MAX_MIB = 2**31 - 1  # of the column


def check_image(image: Image, settings: DepotSettings) -> None:
    """Whether an image may be created as it was asked for.

    :raises errors.InvalidName: errors.InvalidImage: it may not; the reason names the field.
    """
    check_name(image.name, "image")

    def refuse(reason: str) -> errors.InvalidImage:
        return errors.InvalidImage(image=image.name, reason=reason)

    if image.id and not _ID.fullmatch(image.id):
        raise refuse(f"id {image.id!r} is no UUID in its canonical form")
    if image.sha256 and not _SHA256.fullmatch(image.sha256):
        raise refuse("sha256 is not 64 lower-case hex digits")
    if not _ARCHITECTURE.fullmatch(image.architecture):
        raise refuse(f"architecture {image.architecture!r} is none")
    if image.virt_type not in ("", "kvm", "qemu"):
        raise refuse(f"virt_type {image.virt_type!r} is neither kvm nor qemu")
    if not 0 <= image.size_bytes <= settings.max_image_gib * GIB:
        raise refuse(f"size of {image.size_bytes} bytes is not between 0 and {settings.max_image_gib} GiB")
    if not 0 <= image.min_disk_gib <= settings.max_image_gib:
        raise refuse(f"min_disk_gib {image.min_disk_gib} is not between 0 and {settings.max_image_gib}")
    if not 0 <= image.min_memory_mib <= _MEMORY_MAX_MIB:
        raise refuse(f"min_memory_mib {image.min_memory_mib} is not possible")
    if faults := [*property_faults(image.properties), *_url_faults(image.url, allow_file=settings.allow_file_urls)]:
        raise refuse("; ".join(faults))


def _url_faults(url: str, *, allow_file: bool) -> list[str]:
    fault = _url_fault(url, allow_file=allow_file) if url else ""
    return [f"url: {fault}"] if fault else []


def _url_fault(url: str, *, allow_file: bool) -> str:
    """What is wrong with it, or nothing. Every agent will fetch it."""
    if len(url) > _URL_MAX or not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        return f"not ASCII without spaces, or over {_URL_MAX} characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        return str(exc)
    if parts.username is not None or parts.password is not None:
        return "credentials in it would be shown to everybody"
    match parts.scheme:
        case "http" | "https":
            return "" if host else "no host in it"
        case "file" if not allow_file:
            return "file: is not allowed here ([depot] allow_file_urls)"
        case "file":
            return "" if parts.path.startswith("/") and not parts.netloc else "file: needs an absolute path"
        case other:
            return f"scheme {other!r} is not http, https or file"

"""Reading the end of a console log that virtlogd writes and rotates."""

from __future__ import annotations

import os
from pathlib import Path

from agent.virt.libvirt.folder import Folder, failed

__all__ = ["tail"]

#: virtlogd keeps three old files unless told otherwise; a site may keep more
_MOST_OLD = 16


def tail(folder: Folder, max_bytes: int) -> bytes:
    """The last *max_bytes* that the guest printed; empty before its first start.

    :raises drover.errors.DriverError: a file is there but cannot be read.
    """
    old = [folder.console.with_name(f"{folder.console.name}.{number}") for number in range(_MOST_OLD)]
    parts: list[bytes] = []
    left = max_bytes
    for path in (folder.console, *old):
        if left <= 0:
            break
        part = _end_of(path, left)
        if part is None:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(reversed(parts))


def _end_of(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            return file.read(max_bytes)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise failed(exc, path.name, path.parent) from exc

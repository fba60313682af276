"""Which ports a lab has: a block of its own, also when several labs are made at the same moment.

A claim is a link named after the block's first port, in the user's cache. It leads to the lab's directory, and
holds as long as that is there; labs of other users are seen by what listens.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drover import errors
from drover.lab.layout import cache_directory
from drover.runtime.port import is_listening

__all__ = ["claim"]

#: blocks below the ports that the kernel hands out to whoever asks
_FIRST, _SIZE, _COUNT = 20000, 256, 48
#: ports of a block that servers listen on
_SERVERS = 16


def claim(directory: Path) -> int:
    """The first port of a block that no other lab has and nobody listens on; the same directory tries the same one first.

    :raises errors.LabFailed: all are taken.
    """
    seed = zlib.crc32(os.fsencode(directory))
    with _claims() as claims:
        for attempt in range(_COUNT):
            first = _FIRST + (seed + attempt) % _COUNT * _SIZE
            link = claims / str(first)
            if _is_claimed(link, directory) or _is_used(first):
                continue
            link.unlink(missing_ok=True)
            link.symlink_to(directory)
            return first
    raise errors.LabFailed(reason=f"every block of ports from {_FIRST} to {_FIRST + _SIZE * _COUNT - 1} is in use")


def _is_claimed(link: Path, directory: Path) -> bool:
    return link.exists() and link.readlink() != directory


def _is_used(first: int) -> bool:
    return any(is_listening("127.0.0.1", first + offset) for offset in range(_SERVERS))


@contextmanager
def _claims() -> Iterator[Path]:
    """The directory of claims, one maker of labs at a time."""
    claims = cache_directory() / "lab-ports"
    claims.mkdir(parents=True, exist_ok=True)
    handle = os.open(claims, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield claims
    finally:
        os.close(handle)

"""What ``/proc`` tells of another process, also to a root that may not trace.

The environment and the working directory of a process are shown to its own user and to who holds CAP_SYS_PTRACE.
In many containers root does not; there it looks as the process's user, whose eyes it may borrow (setfsuid(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["environment", "working_directory"]

#: more than any environment that is looked for; one read gets it whole
_ENVIRONMENT_BYTES = 1 << 20
_LIBC = ctypes.CDLL(None)


def environment(entry: Path) -> bytes:
    """What the process at ``/proc/PID`` was started with, its variables apart by NUL.

    :raises OSError: it has ended, or is not ours to see.
    """
    try:
        return _read(entry)
    except PermissionError:
        with _as_owner_of(entry):
            return _read(entry)


def working_directory(entry: Path) -> Path:
    """Where the process at ``/proc/PID`` works.

    :raises OSError: it has ended, or is not ours to see.
    """
    try:
        return (entry / "cwd").readlink()
    except PermissionError:
        with _as_owner_of(entry):
            return (entry / "cwd").readlink()


def _read(entry: Path) -> bytes:
    """A third of the CPU of :meth:`Path.read_bytes`."""
    handle = os.open(entry / "environ", os.O_RDONLY)
    try:
        return os.read(handle, _ENVIRONMENT_BYTES)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _as_owner_of(entry: Path) -> Iterator[None]:
    """This thread looks at files as the process's user does; to others than root that changes nothing."""
    owner = entry.stat()
    group = _LIBC.setfsgid(owner.st_gid)
    user = _LIBC.setfsuid(owner.st_uid)
    try:
        yield
    finally:
        _LIBC.setfsuid(user)
        _LIBC.setfsgid(group)

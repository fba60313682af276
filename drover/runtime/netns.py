"""Listening in another network namespace."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

__all__ = ["listen"]

_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/thread-self/ns/net")


def listen(address: str, port: int, namespace: Path | None = None) -> socket.socket:
    """A TCP socket that listens on *address* inside *namespace* (``/proc/PID/ns/net``), or here without one.

    The calling thread visits the namespace and comes back; the socket stays in it. Needs CAP_SYS_ADMIN.

    :raises OSError: the namespace cannot be entered, or the address is not free there.
    """
    if namespace is None:
        return _bind(address, port)
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            return _bind(address, port)
        finally:
            _enter(home)
    finally:
        os.close(home)


def _bind(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def _enter(handle: int) -> None:
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

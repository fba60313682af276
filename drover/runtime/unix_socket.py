"""UNIX stream sockets that carry frames: four bytes of length, big-endian, then as many bytes."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Self

__all__ = ["Connection", "Listener", "connect"]

_LENGTH = struct.Struct(">I")


class Connection:
    """One end of a connection; every error is an :class:`OSError`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, frame: bytes) -> None:
        self._sock.sendall(_LENGTH.pack(len(frame)) + frame)

    def receive(self, *, limit_bytes: int, timeout_s: float | None) -> bytes:
        """The next frame.

        :raises ConnectionError: the other end closed, or announced more than *limit_bytes*.
        :raises TimeoutError: it was silent for *timeout_s*.
        """
        self._sock.settimeout(timeout_s)
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > limit_bytes:
            raise ConnectionError(f"frame of {length} bytes")
        return self._exactly(length)

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = self._sock.recv(min(count, 1 << 20))
            if not part:
                raise ConnectionError("closed by the other end")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class Listener:
    """Accepts connections at *path*, from this user (and root) only.

    A socket file that nobody listens to, left by a killed process, is replaced.

    :raises OSError: somebody listens there already, or the path cannot be used (over 107 bytes, no such directory).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            self._sock.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101  nobody can connect before listen()
            self._sock.listen(64)
        except OSError:
            self._sock.close()
            raise

    def accept(self) -> Connection | None:
        """The next connection; ``None`` once the listener was closed."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return None
        return Connection(sock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(); close() alone does not
        self._sock.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108


def connect(path: str, *, timeout_s: float) -> Connection:
    """:raises OSError: nobody listens at *path*, or not for this user."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Connection(sock)


def _remove_stale(path: str) -> None:
    try:
        connect(path, timeout_s=1.0).close()
    except ConnectionRefusedError:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    else:
        raise FileExistsError(f"a process listens at {path}")

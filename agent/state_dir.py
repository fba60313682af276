"""The agent's state directory as a port: small files, append-only files, and one lock.

Everything of an agent that must outlive it is here (fsynced) or in the hypervisor.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from drover import errors

__all__ = ["AppendFile", "FileStateDir", "MemoryStateDir", "StateDir"]


class AppendFile(Protocol):
    """A file that only grows."""

    def append(self, data: bytes) -> None:
        """Survives the death of this process at once, that of the machine only after :meth:`sync`."""

    def sync(self) -> None:
        """Everything appended so far is durable on return."""

    def close(self) -> None: ...


class StateDir(Protocol):
    """One agent's directory."""

    @property
    def path(self) -> str: ...

    def lock(self) -> None:
        """Hold the directory until :meth:`unlock` or the death of this process.

        :raises drover.errors.StateDirLocked: another agent holds it.
        :raises drover.errors.InvalidConfig: it cannot be made or written.
        """

    def unlock(self) -> None: ...

    def read(self, name: str) -> bytes | None:
        """A file's content; None when there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole, durably: afterwards it holds the old or the new content, never a part."""

    def append_to(self, name: str) -> AppendFile:
        """Open a file, made if needed, to append to it."""


class FileStateDir:
    """A real directory, made if needed, for this user alone (0700)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock_fd = -1

    @property
    def path(self) -> str:
        return str(self._directory)

    def lock(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)  # also where somebody else made it
            fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise errors.InvalidConfig(reason=f"[agent] state_dir {self.path}: {exc.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise errors.StateDirLocked(path=self.path) from None
        self._lock_fd = fd

    def unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def read(self, name: str) -> bytes | None:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        fresh = self._directory / f"{name}.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        fresh.rename(self._directory / name)
        self._sync_directory()

    def append_to(self, name: str) -> AppendFile:
        fd = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._sync_directory()
        return _AppendFile(fd)

    def _sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class _AppendFile:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def append(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._fd, data) :]

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class MemoryStateDir:
    """A directory of a simulated host: outlives its agents, and loses at a crash what was not fsynced."""

    def __init__(self, path: str = "memory") -> None:
        self.path = path
        self._files: dict[str, bytearray] = {}
        self._durable: dict[str, int] = {}  # bytes of each file that are fsynced
        self._locked = False

    def lock(self) -> None:
        if self._locked:
            raise errors.StateDirLocked(path=self.path)
        self._locked = True

    def unlock(self) -> None:
        self._locked = False

    def read(self, name: str) -> bytes | None:
        content = self._files.get(name)
        return None if content is None else bytes(content)

    def write(self, name: str, data: bytes) -> None:
        self._files[name] = bytearray(data)
        self._durable[name] = len(data)

    def append_to(self, name: str) -> AppendFile:
        self._files.setdefault(name, bytearray())
        self._durable.setdefault(name, 0)
        return _MemoryAppendFile(self._files, self._durable, name)

    def kill(self) -> None:
        """The agent's process died: its lock is free, its writes stay."""
        self._locked = False

    def crash(self, keep: Callable[[int], int] = lambda _: 0) -> None:
        """The machine died: of each file's tail that was not fsynced, ``keep(length)`` bytes are left."""
        self._locked = False
        for name, content in self._files.items():
            durable = self._durable[name]
            del content[durable + keep(len(content) - durable) :]
            self._durable[name] = len(content)


class _MemoryAppendFile:
    def __init__(self, files: dict[str, bytearray], durable: dict[str, int], name: str) -> None:
        self._files = files
        self._durable = durable
        self._name = name

    def append(self, data: bytes) -> None:
        self._files[self._name] += data

    def sync(self) -> None:
        self._durable[self._name] = len(self._files[self._name])

    def close(self) -> None:
        """Nothing to let go."""

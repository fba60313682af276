"""The files of a guest on this host: one folder for each instance and epoch.

The epoch is part of the path, so an instance that comes back to a host never meets files of its earlier stay,
and their removal can never take the new ones.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from drover import errors

__all__ = ["Folder", "Folders", "failed", "partial_of", "publish", "unlink", "write_whole"]

#: QEMU runs as a user of its own under most libvirts: it must pass through, not look around
_MODE = 0o711
#: libvirt gives the files that QEMU opens to QEMU's user while the guest runs
_FILE_MODE = 0o600
#: what may stand in a file's name
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")


@dataclass(frozen=True, slots=True)
class Folder:
    """Names only; nothing need exist."""

    path: Path

    @property
    def disk(self) -> Path:
        return self.path / "disk.qcow2"

    @property
    def rescue(self) -> Path:
        """The disk of the rescue system, there only while the guest is rescued."""
        return self.path / "rescue.qcow2"

    @property
    def frozen(self) -> Path:
        """There from before the guest's filesystems are frozen until they are thawed."""
        return self.path / "frozen"

    def snapshot(self, snapshot_id: str) -> Path:
        """:raises errors.BadInput: it would name another path."""
        if not _PLAIN.fullmatch(snapshot_id):
            raise errors.BadInput(reason=f"{snapshot_id!r} is no id of a snapshot")
        return self.path / f"snapshot-{snapshot_id}.qcow2"

    @property
    def config(self) -> Path:
        return self.path / "config.iso"

    @property
    def console(self) -> Path:
        """Written by libvirt; rotated ones end with ``.0`` (newest), ``.1``, ``.2``."""
        return self.path / "console.log"

    @property
    def ports(self) -> Path:
        """What the host's packet filter holds for this guest."""
        return self.path / "ports.json"

    def make(self) -> None:
        """:raises errors.DriverError: the file system refuses."""
        try:
            self.path.mkdir(mode=_MODE, parents=True, exist_ok=True)
            self.path.parent.chmod(_MODE)  # mkdir gives parents the default mode
            self.path.chmod(_MODE)  # and the umask takes away
        except OSError as exc:
            raise failed(exc, "guest folder", self.path) from exc


class Folders:
    """``<root>/<instance uuid>/<epoch>/``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self) -> None:
        """The root itself. :raises errors.DriverError: the file system refuses."""
        try:
            self.root.mkdir(mode=_MODE, parents=True, exist_ok=True)
        except OSError as exc:
            raise failed(exc, "instances' directory", self.root) from exc

    def of(self, instance_uuid: str, epoch: int) -> Folder:
        """:raises errors.BadInput: no uuid in its canonical form; it would name another path."""
        return Folder(self._home(instance_uuid) / str(epoch))

    def upto(self, instance_uuid: str, epoch: int) -> list[Folder]:
        """Those that exist for epochs ≤ *epoch*, oldest first."""
        try:
            names = [path.name for path in self._home(instance_uuid).iterdir() if path.name.isdecimal()]
        except FileNotFoundError:
            return []
        return [self.of(instance_uuid, e) for e in sorted(map(int, names)) if e <= epoch]

    def all_but(self, known: Collection[str]) -> list[tuple[str, int]]:
        """(instance uuid, epoch) of every folder of instances that are not *known*.

        :raises errors.DriverError: the directory cannot be read.
        """
        found: list[tuple[str, int]] = []
        try:
            for home in self.root.iterdir():
                if home.name not in known and _is_uuid(home.name):
                    found += [(home.name, int(path.name)) for path in home.iterdir() if path.name.isdecimal()]
        except FileNotFoundError:
            return sorted(found)  # removed while we looked; the next look sees the rest
        except OSError as exc:
            raise errors.DriverError(operation="reading the instances' directory", detail=str(exc)) from exc
        return sorted(found)

    def remove(self, folder: Folder) -> None:
        """Delete *folder*, and the instance's own when it was the last. May be called again after a crash."""
        try:
            if folder.path.exists():
                shutil.rmtree(folder.path)
            folder.path.parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as exc:
            if not folder.path.exists():
                return  # another epoch still has its folder here
            raise failed(exc, "guest folder", folder.path) from exc

    def _home(self, instance_uuid: str) -> Path:
        if not _is_uuid(instance_uuid):
            raise errors.BadInput(reason=f"{instance_uuid!r} is no uuid")
        return self.root / instance_uuid


def _is_uuid(name: str) -> bool:
    """In its canonical form."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def write_whole(path: Path, content: bytes) -> None:
    """Write for root alone, so that a crash at any point leaves the old file, the new one, or none: never a part.

    :raises errors.DriverError: the file system refuses (``DiskFull`` when it is full).
    """
    partial = partial_of(path)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as exc:
        raise failed(exc, path.name, path.parent) from exc
    publish(partial, path)


def partial_of(path: Path) -> Path:
    """Where *path* is written before it is whole."""
    return path.with_name(path.name + ".partial")


def publish(partial: Path, path: Path) -> None:
    """Bring *partial* to the platter and give it its name.

    :raises errors.DriverError: the file system refuses.
    """
    try:
        partial.chmod(_FILE_MODE)
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except OSError as exc:
        raise failed(exc, path.name, path.parent) from exc


def unlink(*paths: Path) -> None:
    """Remove files; those that are not there are fine.

    :raises errors.DriverError: the file system refuses.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise failed(exc, path.name, path.parent) from exc


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failed(exc: OSError, what: str, path: Path) -> errors.DriverError:
    """The typed error for a refusal of the file system."""
    if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
        return errors.DiskFull(what=what, path=str(path))
    return errors.DriverError(operation=f"writing {what}", detail=str(exc))

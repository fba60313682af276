"""Where fake guests live: outside the agent, as real ones do, so that its death changes none of them."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from drover.objects import codec
from drover.runtime import Runtime
from drover.states import PowerState

__all__ = ["Definition", "FileGuestStore", "GuestRecord", "GuestStore", "MemoryGuestStore"]


_COMPACT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a definition says beside who the guest is."""

    operation_id: str
    spec_digest: str
    vcpus: int
    memory_mib: int
    rescue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRecord:
    """All that a fake hypervisor has of one uuid. Epochs of parts are 0 while the part does not exist."""

    uuid: str
    name: str = ""
    deployment_id: str = ""
    epoch: int = 0
    defined: bool = False
    power_state: PowerState = PowerState.SHUTDOWN
    operation_id: str = ""
    spec_digest: str = ""
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0
    disk_epoch: int = 0
    network_epoch: int = 0
    config_epoch: int = 0
    console: str = ""
    boots: int = 0
    booted_at: datetime | None = None
    rescue: bool = False
    redefined: Definition | None = None  # while it is active: what counts once it is off
    saved: bool = False  # its memory, while it is off
    disk_image: str = ""  # what the root disk was made from
    rescue_image: str = ""  # likewise the rescue disk; "" = there is none
    rescue_epoch: int = 0
    snapshots: tuple[str, ...] = ()  # ids of finished copies
    copying: tuple[str, ...] = ()  # ids of copies that nobody finished

    @property
    def active(self) -> bool:
        """A hypervisor process exists for it."""
        return self.power_state in (PowerState.RUNNING, PowerState.PAUSED)


class GuestStore(Protocol):
    """Each call is atomic and survives the death of its caller."""

    def get(self, uuid: str) -> GuestRecord | None: ...

    def put(self, record: GuestRecord) -> None: ...

    def delete(self, uuid: str) -> None:
        """Absent is fine."""

    def list(self) -> list[GuestRecord]:
        """Sorted by uuid."""


class MemoryGuestStore:
    """For simulations: belongs to the simulated host, and outlives the drivers that use it."""

    def __init__(self) -> None:
        self._records: dict[str, GuestRecord] = {}

    def get(self, uuid: str) -> GuestRecord | None:
        return self._records.get(uuid)

    def put(self, record: GuestRecord) -> None:
        self._records[record.uuid] = record

    def delete(self, uuid: str) -> None:
        self._records.pop(uuid, None)

    def list(self) -> list[GuestRecord]:
        return [record for _, record in sorted(self._records.items())]


class FileGuestStore:
    """One append-only file of JSON lines; the last line of a uuid counts.

    A file per guest would cost half a millisecond of CPU for each change (measured on ext4: making a file), a line
    costs microseconds.  Other processes may read and append at any time.  Nothing is fsynced: a fake guest does not
    outlive its machine.
    """

    def __init__(self, runtime: Runtime, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "guests"
        self._lock = runtime.lock()  # protects all that follows
        self._records: dict[str, GuestRecord] = {}
        self._inode = 0
        self._read = 0  # bytes
        self._torn = b""
        self._compact_at = _COMPACT_BYTES
        with self._lock:
            self._path.touch(mode=0o600)
            self._refresh()
            if self._torn:
                self._append(b"\n")  # a torn line must not swallow the next one
            self._compact()

    def get(self, uuid: str) -> GuestRecord | None:
        with self._lock:
            self._refresh()
            return self._records.get(uuid)

    def put(self, record: GuestRecord) -> None:
        self._write(_Line(record=record))

    def delete(self, uuid: str) -> None:
        self._write(_Line(deleted=uuid))

    def list(self) -> list[GuestRecord]:
        with self._lock:
            self._refresh()
            return [record for _, record in sorted(self._records.items())]

    def _write(self, line: _Line) -> None:
        text = msgspec.json.encode(line)
        with self._lock:
            before = self._read
            if self._append(text + b"\n") == before + len(text) + 1:  # nobody else wrote: no need to read it back
                self._read = before + len(text) + 1
                self._apply(line)
            self._compact()

    def _append(self, data: bytes) -> int:
        """The size of the file afterwards."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, data)
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _refresh(self) -> None:
        """Read what was appended, by whomever, since the last look."""
        stat = self._path.stat()
        if (stat.st_ino, stat.st_size) == (self._inode, self._read):
            return
        if stat.st_ino != self._inode or stat.st_size < self._read:
            self._records, self._read, self._torn, self._inode = {}, 0, b"", stat.st_ino
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._torn = (self._torn + data).split(b"\n")
        for text in lines:
            with suppress(msgspec.DecodeError):  # torn by a death in the middle of a write: it never happened
                self._apply(msgspec.json.decode(text, type=_Line))

    def _apply(self, line: _Line) -> None:
        if line.record is not None:
            self._records[line.record.uuid] = line.record
        else:
            self._records.pop(line.deleted, None)

    def _compact(self) -> None:
        """Rewrite the file with what is alive, when most of it is not."""
        if self._read < self._compact_at:
            return
        self._refresh()
        lines = b"".join(msgspec.json.encode(_Line(record=record)) + b"\n" for record in self._records.values())
        self._compact_at = max(_COMPACT_BYTES, 4 * len(lines))
        if self._read > self._compact_at:
            fresh = self._path.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_bytes(lines)
            fresh.rename(self._path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    record: GuestRecord | None = None
    deleted: str = ""


codec.prepare(_Line)

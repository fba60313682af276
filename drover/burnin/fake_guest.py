"""Guests of the fake driver: a JSON line for each change in a file that only grows; the last one of a uuid counts."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from drover.burnin.guest import ON, Guest
from drover.lab.lab import Lab
from drover.runtime import Lock, Runtime
from drover.states import PowerState

__all__ = ["FakeGuests"]


class FakeGuests:
    """:class:`drover.burnin.guest.Hypervisors` of a lab with fake hosts."""

    def __init__(self, lab: Lab, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stores = {
            host: _Store(lab.layout.host(host) / "agent/fake/guests", runtime.lock())
            for host in lab.spec().host_names()
        }

    def running(self) -> list[Guest]:
        return [guest for guest in self.all() if guest.power_state in ON]

    def all(self) -> list[Guest]:
        return [
            Guest(
                host=host,
                uuid=str(record["uuid"]),
                name=str(record.get("name", "")),
                power_state=PowerState(record.get("power_state", "shutdown")),
                epoch=int(record.get("epoch", 0)),
                process=int(record.get("boots", 0)),
            )
            for host, store in self._stores.items()
            for record in store.records().values()
            if record.get("defined")
        ]

    def files(self, uuids: Collection[str]) -> list[str]:
        """Records that are no domains any more count here: disks and networks."""
        return [
            f"{uuid} in the store of {host}"
            for host, store in self._stores.items()
            for uuid in sorted(set(store.records()) & set(uuids))
        ]

    def kill(self, guest: Guest) -> bool:
        """What its agent writes in the same instant counts: a crash came before it."""
        store = self._stores[guest.host]
        record = store.records().get(guest.uuid)
        if record is None or record.get("power_state") not in ON:
            return False
        before = store.size
        store.append({"record": {**record, "power_state": PowerState.CRASHED.value}})
        for change in store.overtaken(before, guest.uuid):
            store.append(change)
        return True

    def add_stranger(self, host: str, name: str) -> None:
        record = {"uuid": self._runtime.uuid(), "name": name, "defined": True, "power_state": "running", "boots": 1}
        self._stores[host].append({"record": record})

    def remove_stranger(self, host: str, name: str) -> None:
        for record in list(self._stores[host].records().values()):
            if record.get("name") == name:
                self._stores[host].append({"deleted": record["uuid"]})


class _Store:
    """The file of one host. Only what was appended since the last look is read."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self._path = path
        self._lock = lock  # protects all that follows
        self._inode = 0
        self._torn = b""
        self._records: dict[str, dict[str, Any]] = {}
        self.size = 0  # bytes that were read

    def records(self) -> dict[str, dict[str, Any]]:
        """By uuid, as they are now."""
        with self._lock:
            try:
                stat = self._path.stat()
            except FileNotFoundError:
                return {}
            if stat.st_ino != self._inode or stat.st_size < self.size:
                self._inode, self._torn, self._records, self.size = stat.st_ino, b"", {}, 0
            data = self._from(self.size)
            self.size += len(data)
            *lines, self._torn = (self._torn + data).split(b"\n")
            for change in _changes(lines):
                if record := change.get("record"):
                    self._records[record["uuid"]] = record
                else:
                    self._records.pop(_uuid(change), None)
            return dict(self._records)

    def overtaken(self, offset: int, uuid: str) -> list[dict[str, Any]]:
        """Changes of *uuid* that were written from *offset* on, before it crashed."""
        changes = [change for change in _changes(self._from(offset).split(b"\n")) if _uuid(change) == uuid]
        crashed = next((n for n, change in enumerate(changes) if _is_crash(change)), 0)
        return changes[:crashed]

    def append(self, change: Mapping[str, Any]) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, json.dumps(change).encode() + b"\n")
        finally:
            os.close(handle)

    def _from(self, offset: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read()


def _changes(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):  # torn by the death of its writer
            change = json.loads(line)
            if isinstance(change, dict):
                yield change


def _uuid(change: Mapping[str, Any]) -> str:
    return str(change["record"]["uuid"] if change.get("record") else change.get("deleted", ""))


def _is_crash(change: Mapping[str, Any]) -> bool:
    return bool(change.get("record")) and change["record"].get("power_state") == PowerState.CRASHED.value

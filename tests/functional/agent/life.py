"""The life of one incarnation of an agent: every port asks it before it touches the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from agent.state_dir import AppendFile, MemoryStateDir
from agent.virt.fake_store import GuestRecord, MemoryGuestStore

__all__ = ["PATIENCE_S", "Killed", "Life", "MortalStateDir", "MortalStore"]

PATIENCE_S = 30.0


class Killed(BaseException):
    """The incarnation is dead: whoever gets this never does anything again."""


class Life:
    """Of one incarnation; every port asks it first."""

    def __init__(self, dies_at: str = "") -> None:
        self.dies_at = dies_at
        self.dies_after_put: Callable[[GuestRecord], bool] = lambda _: False
        self.over = threading.Event()
        self.passed: list[str] = []
        self.waits_at = ""  # a point where the agent waits for :attr:`go_on`
        self.waiting = threading.Event()
        self.go_on = threading.Event()

    def check(self) -> None:
        if self.over.is_set():
            raise Killed

    def hit(self, name: str) -> None:
        self.check()
        self.passed.append(name)
        if name == self.waits_at:
            self.waiting.set()
            assert self.go_on.wait(PATIENCE_S)
        if name == self.dies_at:
            self.over.set()
            raise Killed


class MortalStore(MemoryGuestStore):
    """The host's guests, through the hands of one incarnation."""

    def __init__(self, store: MemoryGuestStore, life: Life) -> None:
        self._store = store
        self._life = life

    def get(self, uuid: str) -> GuestRecord | None:
        self._life.check()
        return self._store.get(uuid)

    def put(self, record: GuestRecord) -> None:
        self._life.check()
        self._store.put(record)
        if self._life.dies_after_put(record):
            self._life.over.set()
            raise Killed

    def delete(self, uuid: str) -> None:
        self._life.check()
        self._store.delete(uuid)

    def list(self) -> list[GuestRecord]:
        self._life.check()
        return self._store.list()


class MortalStateDir:
    """The host's state directory, likewise."""

    path = "memory"

    def __init__(self, state_dir: MemoryStateDir, life: Life) -> None:
        self._state_dir = state_dir
        self._life = life

    def __getattribute__(self, name: str) -> Any:
        if name in ("lock", "unlock", "read", "write"):
            self._life.check()
            return getattr(self._state_dir, name)
        return object.__getattribute__(self, name)

    def append_to(self, name: str) -> AppendFile:
        return _MortalFile(self._state_dir.append_to(name), self._life)

    # the protocol's methods, for the type checker: __getattribute__ answers

    def lock(self) -> None: ...

    def unlock(self) -> None: ...

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, data: bytes) -> None: ...


class _MortalFile:
    def __init__(self, file: AppendFile, life: Life) -> None:
        self._file = file
        self._life = life

    def append(self, data: bytes) -> None:
        self._life.check()
        self._file.append(data)

    def sync(self) -> None:
        self._life.check()
        self._file.sync()

    def close(self) -> None:
        self._file.close()

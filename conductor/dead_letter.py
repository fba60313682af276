"""Items of a sync that can never be applied: kept for people, so that the rest proceeds."""

from __future__ import annotations

from pathlib import Path

from conductor.alarm import AlarmKind, raise_alarm
from drover import log
from drover.db.engine import Database
from drover.objects import codec
from drover.objects.event import Event
from drover.objects.sync import Begun, Gone, Result
from drover.runtime import Runtime

__all__ = ["DeadLetters"]

LOG = log.get(__name__)


class DeadLetters:
    """Writes each to a file of its own (when there is a directory), to the log, and raises an alarm."""

    def __init__(self, runtime: Runtime, database: Database, directory: str) -> None:
        self._runtime = runtime
        self._database = database
        self._directory = directory

    def put(self, host: str, item: Result | Gone | Begun, error: Exception) -> list[Event]:
        """Keep *item* of *host*, which failed with *error*; what to tell."""
        now = self._runtime.clock.now()
        LOG.error("item can never be applied", host=host, kind=type(item).__name__, error=error, item=item)
        if self._directory:
            folder = Path(self._directory)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{now:%Y%m%dT%H%M%S%f}-{host}-{type(item).__name__.lower()}.json"
            letter = {"host": host, "kind": type(item).__name__, "error": str(error), "item": codec.to_plain(item)}
            (folder / name).write_text(codec.to_json(letter))
        with self._database.write() as conn:
            return raise_alarm(conn, AlarmKind.DEAD_LETTER, host, f"{type(item).__name__}: {error}", now)

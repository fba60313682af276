"""What an agent must not forget: which orders it began, and results until the conductor has them.

One append-only file of JSON lines.  Specs and secrets are not in it: after a restart the agent holds no order,
gets those that still count from its first sync, and uses the journal to see that it began them before.

    ["begun", {…}]  ["mark", operation, attempt, step]  ["result", {…}]  ["forget", operation, attempt]

A line is safe from the death of the agent once written, and from that of the machine after :meth:`Journal.flush`,
which is one fsync for all who wait.  A torn last line is what a crash leaves, and is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from agent.state_dir import AppendFile, StateDir
from drover import errors, log
from drover.objects import codec
from drover.objects.sync import Order, Result
from drover.runtime import Runtime
from drover.states import Action

__all__ = ["BegunOrder", "Journal", "Key"]

LOG = log.get(__name__)

#: (operation id, attempt)
Key = tuple[str, int]

_FILE = "journal"
#: the file is rewritten when it is over this, and over four times what was alive at the last rewrite
_COMPACT_BYTES = 1024 * 1024
#: an order whose end never came (its operation ended while this agent was down) is forgotten after this
_BEGUN_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunOrder:
    """An order whose steps were begun."""

    operation_id: str
    attempt: int
    instance_uuid: str
    epoch: int
    action: Action
    at: datetime


codec.prepare(BegunOrder)


class Journal:
    """Thread-safe."""

    def __init__(self, runtime: Runtime, state_dir: StateDir) -> None:
        self._clock = runtime.clock
        self._state_dir = state_dir
        self._gate = runtime.lock()  # protects all that follows
        self._syncing = runtime.lock()  # one fsync at a time; who waits for it mostly finds it done
        self._file: AppendFile | None = None
        self._begun: dict[Key, BegunOrder] = {}
        self._marks: dict[Key, set[str]] = {}
        self._results: dict[Key, Result] = {}
        self._size = 0
        self._compact_at = _COMPACT_BYTES
        self._appended = 0
        self._synced = 0

    def open(self) -> None:
        """Read what an earlier incarnation left, and go on from there."""
        text = self._state_dir.read(_FILE) or b""
        lines = text.split(b"\n")
        torn = lines.pop()  # empty after a whole last line
        for line in lines:
            self._read(line)
        if torn:
            LOG.warning("journal ends in a torn line", bytes=len(torn))
        oldest = self._clock.now() - _BEGUN_KEPT
        for key in [k for k, begun in self._begun.items() if begun.at < oldest and k not in self._results]:
            self._drop(key)
        self._compact()

    def begun(self, order: Order) -> None:
        """Steps of *order* begin now."""
        begun = BegunOrder(
            operation_id=order.operation_id,
            attempt=order.attempt,
            instance_uuid=order.instance_uuid,
            epoch=order.epoch,
            action=order.action,
            at=self._clock.now(),
        )
        with self._gate:
            self._begun[order.operation_id, order.attempt] = begun
            self._append(["begun", begun])

    def was_begun(self, key: Key) -> bool:
        with self._gate:
            return key in self._begun

    def unfinished(self) -> list[BegunOrder]:
        """Orders that were begun and have no result, oldest first."""
        with self._gate:
            return [begun for key, begun in self._begun.items() if key not in self._results]

    def mark(self, key: Key, step: str) -> None:
        """A step is done, or a fact was found that a later incarnation needs."""
        with self._gate:
            self._marks.setdefault(key, set()).add(step)
            self._append(["mark", *key, step])

    def marks(self, key: Key) -> frozenset[str]:
        """Steps done and facts found so far, in this incarnation or an earlier one."""
        with self._gate:
            return frozenset(self._marks.get(key, ()))

    def result(self, result: Result) -> None:
        """Keep a result until :meth:`forget`; :meth:`flush` before it is sent."""
        with self._gate:
            self._results[result.operation_id, result.attempt] = result
            self._append(["result", result])

    def results(self) -> list[Result]:
        """All that nobody acknowledged yet, oldest first."""
        with self._gate:
            return list(self._results.values())

    def forget(self, key: Key) -> None:
        """The conductor has the result, or the order is no longer ours. Losing this line only repeats an answer."""
        with self._gate:
            if self._drop(key):
                self._append(["forget", *key])

    def forget_instance(self, instance_uuid: str, epoch: int) -> None:
        """Nothing of (instance, epoch ≤ *epoch*) is left here, so nothing of it can be resumed."""
        with self._gate:
            found = [k for k, b in self._begun.items() if b.instance_uuid == instance_uuid and b.epoch <= epoch]
            for key in found:
                if key not in self._results:
                    self._drop(key)
                    self._append(["forget", *key])

    def flush(self) -> None:
        """Return when everything appended before the call is durable."""
        wanted = self._appended
        with self._syncing:
            if self._synced >= wanted:
                return
            if self._size > self._compact_at:
                self._compact()
                return
            with self._gate:
                upto, file = self._appended, self._file
            if file is not None:
                file.sync()
            self._synced = upto

    def close(self) -> None:
        """Let the file go."""
        with self._syncing, self._gate:
            if self._file is not None:
                self._file.close()
                self._file = None

    # the gate is held in what follows, or nobody else is there yet

    def _append(self, line: list[Any]) -> None:
        if self._file is None:
            return  # closed: the process ends, and what it still says is said again by the next one
        text = msgspec.json.encode(line) + b"\n"
        self._file.append(text)
        self._size += len(text)
        self._appended += 1

    def _drop(self, key: Key) -> bool:
        self._marks.pop(key, None)
        begun = self._begun.pop(key, None)
        return self._results.pop(key, None) is not None or begun is not None

    def _read(self, line: bytes) -> None:
        try:
            kind, *rest = msgspec.json.decode(line)
            if kind == "begun":
                begun = codec.from_plain(rest[0], BegunOrder)
                self._begun[begun.operation_id, begun.attempt] = begun
            elif kind == "result":
                result = codec.from_plain(rest[0], Result)
                self._results[result.operation_id, result.attempt] = result
            elif kind == "mark":
                self._marks.setdefault((rest[0], rest[1]), set()).add(rest[2])
            elif kind == "forget":
                self._drop((rest[0], rest[1]))
        except (msgspec.DecodeError, errors.BadRequest, ValueError, IndexError, TypeError) as exc:
            LOG.warning("journal line is damaged and skipped", error=exc)

    def _compact(self) -> None:
        """Rewrite the file with what is alive."""
        with self._gate:
            lines: list[list[Any]] = [["begun", begun] for begun in self._begun.values()]
            lines += [["mark", *key, step] for key, steps in self._marks.items() for step in sorted(steps)]
            lines += [["result", result] for result in self._results.values()]
            data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
            if self._file is not None:
                self._file.close()
            self._state_dir.write(_FILE, data)
            self._file = self._state_dir.append_to(_FILE)
            self._size = len(data)
            self._compact_at = max(_COMPACT_BYTES, 4 * len(data))
            self._synced = self._appended

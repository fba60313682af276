"""Long polls: clients that wait for operations to end, woken by what this conductor writes.

What another conductor finishes is found by one look at the database a second.
"""

from __future__ import annotations

from collections.abc import Iterable

from drover import errors
from drover.db import operation
from drover.db.engine import Database
from drover.rpc.conductor import WaitReply
from drover.runtime import Event, Runtime
from drover.states import FINAL_STATES

__all__ = ["Waiter"]

MAX_WAIT_S = 60.0
MAX_IDS = 2000
#: how late an end that another conductor wrote may be seen
LOOK_EVERY_S = 1.0


class _Watch:
    __slots__ = ("enough", "event", "open")

    def __init__(self, open_ids: set[str], enough: int, event: Event) -> None:
        self.open = open_ids
        self.enough = enough  # wake when fewer than this are open
        self.event = event


class Waiter:
    """Holds who waits for what."""

    def __init__(self, runtime: Runtime, database: Database) -> None:
        self._runtime = runtime
        self._database = database
        self._lock = runtime.lock()
        self._watches: dict[str, list[_Watch]] = {}

    def finished(self, operation_ids: Iterable[str]) -> None:
        """These are final in the database."""
        with self._lock:
            for operation_id in operation_ids:
                for watch in self._watches.pop(operation_id, ()):
                    watch.open.discard(operation_id)
                    if len(watch.open) < watch.enough:
                        watch.event.set()

    def wait(self, operation_ids: tuple[str, ...], timeout_s: float, unfinished: int) -> WaitReply:
        """Answer when all are final, fewer than *unfinished* are not, or *timeout_s* (at most 60) is over.

        :raises errors.OperationNotFound: one of them does not exist.
        """
        if len(operation_ids) > MAX_IDS:
            raise errors.BadRequest(method="operation_wait", reason=f"more than {MAX_IDS} operations")
        deadline = self._runtime.clock.monotonic() + min(max(timeout_s, 0.0), MAX_WAIT_S)
        enough = max(1, unfinished)
        watch = _Watch(set(operation_ids), enough, self._runtime.event())
        self._enter(watch)
        try:
            while True:
                self._look(watch)
                left = deadline - self._runtime.clock.monotonic()
                if len(watch.open) < enough or left <= 0:
                    return self._reply(operation_ids)
                watch.event.wait(min(left, LOOK_EVERY_S))
        finally:
            self._leave(watch, operation_ids)

    def _look(self, watch: _Watch) -> None:
        """Look for the ends of those that are open, as far as this conductor knows."""
        with self._lock:
            open_ids = sorted(watch.open)
        with self._database.read() as conn:
            are_final = operation.are_final(conn, open_ids)
        for operation_id in open_ids:
            if operation_id not in are_final:
                raise errors.OperationNotFound(ref=operation_id)
        with self._lock:
            watch.open -= {operation_id for operation_id, is_final in are_final.items() if is_final}

    def _reply(self, operation_ids: tuple[str, ...]) -> WaitReply:
        with self._database.read() as conn:
            found = operation.find(conn, operation_ids)
        operations = tuple(found[operation_id] for operation_id in operation_ids)
        return WaitReply(operations=operations, done=all(op.state in FINAL_STATES for op in operations))

    def _enter(self, watch: _Watch) -> None:
        with self._lock:
            for operation_id in watch.open:
                self._watches.setdefault(operation_id, []).append(watch)

    def _leave(self, watch: _Watch, operation_ids: tuple[str, ...]) -> None:
        with self._lock:
            for operation_id in operation_ids:
                rest = [w for w in self._watches.get(operation_id, ()) if w is not watch]
                if rest:
                    self._watches[operation_id] = rest
                else:
                    self._watches.pop(operation_id, None)

"""Ids on their way from the bus's workers to the placing task."""

from __future__ import annotations

from collections.abc import Iterable

from drover.runtime import Runtime

__all__ = ["Inbox"]


class Inbox:
    """Keeps each id once, in order of arrival, so that repeated nudges cost nothing while the database is away."""

    def __init__(self, runtime: Runtime) -> None:
        self._gate = runtime.lock()
        self._came = runtime.event()
        self._ids: dict[str, None] = {}
        self._closed = False

    def put(self, ids: Iterable[str]) -> None:
        with self._gate:
            self._ids.update(dict.fromkeys(ids))
            if self._ids:
                self._came.set()

    def close(self) -> None:
        """Nothing more will come: :meth:`wait` ends when the last id is taken."""
        with self._gate:
            self._closed = True
            self._came.set()

    def wait(self) -> bool:
        """Wait until there is an id; false when it is closed and empty."""
        self._came.wait()
        with self._gate:
            return bool(self._ids)

    def take(self, most: int) -> list[str]:
        """The oldest *most* ids, at once."""
        with self._gate:
            taken = list(self._ids)[:most]
            for each in taken:
                del self._ids[each]
            if not self._ids and not self._closed:
                self._came.clear()
            return taken

"""Tells the conductor what was decided, beside the placing task: a slow broker must not slow placing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drover import errors, log
from drover.rpc import conductor
from drover.rpc.bus import Bus
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import Runtime, Task

__all__ = ["Announcer"]

LOG = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    dispatched: tuple[str, ...]
    unplaceable: tuple[str, ...]


class Announcer:
    """Casts in the order of the batches. A lost one is made good by the conductor's reaper and by syncs."""

    def __init__(self, runtime: Runtime, bus: Bus) -> None:
        self._runtime = runtime
        self._conductor = client(conductor.CONTRACT, bus)
        self._news = runtime.queue()
        self._task: Task | None = None

    def start(self) -> None:
        self._task = self._runtime.spawn("announce", self._run)

    def stop(self, timeout_s: float) -> None:
        """Send what is there, for at most *timeout_s*."""
        self._news.put(None)
        if self._task is not None:
            self._task.join(timeout_s)

    def tell(self, *, dispatched: Sequence[str], unplaceable: Sequence[str]) -> None:
        """Queue the news of one batch."""
        self._news.put(_News(dispatched=tuple(dispatched), unplaceable=tuple(unplaceable)))

    def _run(self) -> None:
        while isinstance(news := self._news.get(), _News):
            try:
                self._cast(news)
            except errors.DroverError as exc:
                LOG.warning("conductor not told, its reaper will see it", error=exc)

    def _cast(self, news: _News) -> None:
        context = RequestContext(request_id=f"req-{self._runtime.uuid()}")
        if news.dispatched:
            self._conductor.dispatched(context, news.dispatched)
        if news.unplaceable:
            self._conductor.unplaceable(context, news.unplaceable)

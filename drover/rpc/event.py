"""Events on their way: a sink that never holds up who tells, keys that readers choose by, and the sink of one process.

On RabbitMQ (:mod:`drover.rpc.rabbit_event`) events are messages of the topic exchange ``drover.events`` with the key
``KIND.PROJECT.SUBJECT``; in ``drover standalone`` they are kept in memory (:class:`EventHub`), and clients ask for them
by a long poll.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Protocol

from drover.objects.event import Event, EventKind, EventPage
from drover.rpc.bus import Bus
from drover.rpc.conductor import WAIT_CONTRACT
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import Event as Flag
from drover.runtime import Runtime

__all__ = ["EVENTS", "EventHub", "EventReader", "EventSink", "HubReader", "Interest", "NoEvents", "routing_key"]

#: the exchange
EVENTS = "drover.events"
#: for what belongs to no project
_NONE = "-"
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: longest wait of one poll, in seconds, and events of one page: 300 bytes each
_LONGEST_S = 60.0
_PAGE = 1000


class EventSink(Protocol):
    """Where events are told. Best effort: what cannot be sent is dropped and counted."""

    def publish(self, events: Sequence[Event]) -> None:
        """Take *events*; never waits, never raises."""

    def close(self) -> None:
        """Send what is there, for a moment at most."""


class EventReader(Protocol):
    def read(self, timeout_s: float) -> list[Event]:
        """What came, oldest first; waits for the first one, and answers nothing after *timeout_s*.

        :raises drover.errors.Unavailable: events may be lost meanwhile; the next call tries again.
        """

    def close(self) -> None: ...


class NoEvents:
    """Nobody listens."""

    def publish(self, events: Sequence[Event]) -> None:
        """Drop them."""

    def close(self) -> None:
        """There is nothing."""


def _word(text: str) -> str:
    """*text* as one word of a key; what holds a dot or the like is replaced by a hash of it."""
    return text if _WORD.fullmatch(text) else "~" + sha256(text.encode()).hexdigest()[:32]


def routing_key(event: Event) -> str:
    """``KIND.PROJECT.SUBJECT``, with ``-`` for no project."""
    return f"{_word(event.kind)}.{_word(event.project_id or _NONE)}.{_word(event.subject)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What a reader wants; empty: all.

    :param project: its instances and operations, and what belongs to no project.
    :param instance: a uuid; then nothing else.
    """

    kinds: tuple[str, ...] = ()
    project: str = ""
    instance: str = ""

    def binding_keys(self) -> tuple[str, ...]:
        """As RabbitMQ's topic exchanges mean them."""
        kinds = [_word(kind) for kind in self.kinds] or ["*"]
        if self.instance:
            ends = [f"*.{_word(self.instance)}"]
        elif self.project:
            ends = [f"{_word(self.project)}.*", f"{_NONE}.*"]
        else:
            ends = ["*.*"]
        return (*(f"{kind}.{end}" for kind in kinds for end in ends), f"{EventKind.LOST}.*.*")

    def takes(self, event: Event) -> bool:
        """What :meth:`binding_keys` choose."""
        if event.kind == EventKind.LOST:
            return True
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.instance:
            return event.subject == self.instance
        return not self.project or event.project_id in (self.project, "")


class EventHub:
    """The events of one process, the newest of them kept for those who ask."""

    def __init__(self, runtime: Runtime, name: str, *, most: int = 10_000) -> None:
        self._runtime = runtime
        self._name = name
        self._gate = runtime.lock()  # protects what follows
        self._kept: deque[Event] = deque(maxlen=most)
        self._next = 0  # number of the next event
        self._waiting: list[Flag] = []

    def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        now = self._runtime.clock.now()
        with self._gate:
            self._kept.extend(replace(event, source=self._name, at=now) for event in events)
            self._next += len(events)
            waiting, self._waiting = self._waiting, []
        for flag in waiting:
            flag.set()

    def close(self) -> None:
        """Who waits does so until its time is over."""

    def wait(self, cursor: int, timeout_s: float) -> EventPage:
        """Events from number *cursor* on, those that are still kept; -1: from now on, which answers at once."""
        flag = self._runtime.event()
        with self._gate:
            # A cursor of an earlier process may be beyond ours.
            ready = not 0 <= cursor <= self._next or cursor < self._next
            if not ready:
                self._waiting.append(flag)
        if not ready:
            flag.wait(min(timeout_s, _LONGEST_S))
        with self._gate:
            if flag in self._waiting:
                self._waiting.remove(flag)
            return self._page(cursor)

    def _page(self, cursor: int) -> EventPage:
        if cursor < 0:
            return EventPage(events=(), cursor=self._next)
        first = self._next - len(self._kept)
        begin = 0 if cursor > self._next else max(cursor, first) - first
        events = tuple(islice(self._kept, begin, begin + _PAGE))
        if cursor < first:
            lost = Event(kind=EventKind.LOST, subject=self._name, source=self._name, detail=f"{first - cursor} events")
            return EventPage(events=(lost, *events), cursor=first + begin + len(events))
        return EventPage(events=events, cursor=first + begin + len(events))


class HubReader:
    """Reads an :class:`EventHub` behind a bus."""

    def __init__(self, bus: Bus, ctx: RequestContext, interest: Interest) -> None:
        self._api = client(WAIT_CONTRACT, bus)
        self._ctx = ctx
        self._interest = interest
        self._cursor = self._api.event_wait(ctx, -1, 0.0).cursor

    def read(self, timeout_s: float) -> list[Event]:
        page = self._api.event_wait(self._ctx, self._cursor, timeout_s)
        self._cursor = page.cursor
        return [event for event in page.events if self._interest.takes(event)]

    def close(self) -> None:
        """Nothing is held."""

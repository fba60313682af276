"""Keys, interests, and the events of one process."""

from __future__ import annotations

import itertools

import pytest

from drover.objects.event import Event, EventKind, host_event
from drover.rpc.event import EventHub, Interest, routing_key
from drover.runtime.threads import ThreadRuntime

KINDS = ("operation", "instance", "host", "alarm", "lost")
EVENTS = [
    Event(kind=kind, subject=subject, project_id=project)
    for kind, project, subject in itertools.product(KINDS, ("", "p1", "team.a", "*", "#"), ("u1", "h.example.org"))
]
INTERESTS = [
    Interest(kinds=kinds, project=project, instance=instance)
    for kinds in ((), ("operation",), ("host", "alarm"))
    for project in ("", "p1", "team.a")
    for instance in ("", "u1")
]


def matches(pattern: str, key: str) -> bool:
    """A binding key of a topic exchange without ``#``."""
    words, wanted = key.split("."), pattern.split(".")
    return len(words) == len(wanted) and all(w in ("*", word) for w, word in zip(wanted, words, strict=True))


@pytest.mark.parametrize("interest", INTERESTS, ids=str)
def test_binding_keys_choose_what_the_interest_takes(interest: Interest) -> None:
    for event in EVENTS:
        bound = any(matches(pattern, routing_key(event)) for pattern in interest.binding_keys())
        assert bound == interest.takes(event), event


def test_a_key_has_three_words_and_fits_the_broker() -> None:
    for event in [*EVENTS, Event(kind="x" * 300, subject="ü" * 255, project_id="a.b" * 20)]:
        key = routing_key(event)
        assert key.count(".") == 2
        assert len(key.encode()) <= 255
    assert routing_key(host_event("h1", "up")) == "host.-.h1"


@pytest.fixture
def hub() -> EventHub:
    return EventHub(ThreadRuntime(), "c1", most=3)


def tell(hub: EventHub, *names: str) -> None:
    hub.publish([host_event(name, "up") for name in names])


def test_who_waits_is_told_at_once(hub: EventHub) -> None:
    runtime = ThreadRuntime()
    cursor = hub.wait(-1, 0.0).cursor
    came = runtime.queue()
    waiting = runtime.spawn("wait", lambda: came.put(hub.wait(cursor, 60.0)))
    tell(hub, "h1")
    assert waiting.join(30)
    (page,) = came.drain()
    assert [event.subject for event in page.events] == ["h1"]  # type: ignore[attr-defined]
    assert page.events[0].source == "c1"  # type: ignore[attr-defined]
    assert page.events[0].at is not None  # type: ignore[attr-defined]


def test_pages_follow_each_other_without_gap_or_repeat(hub: EventHub) -> None:
    tell(hub, "h1", "h2")
    page = hub.wait(0, 0.0)
    tell(hub, "h3")
    assert [event.subject for event in page.events] == ["h1", "h2"]
    page = hub.wait(page.cursor, 0.0)
    assert [event.subject for event in page.events] == ["h3"]
    assert hub.wait(page.cursor, 0.0).events == ()


def test_a_reader_that_is_too_slow_is_told_what_it_missed(hub: EventHub) -> None:
    tell(hub, "h1", "h2", "h3", "h4", "h5")
    lost, *kept = hub.wait(1, 0.0).events
    assert (lost.kind, lost.detail) == (EventKind.LOST, "1 events")
    assert [event.subject for event in kept] == ["h3", "h4", "h5"]


def test_a_cursor_of_an_earlier_process_begins_anew(hub: EventHub) -> None:
    tell(hub, "h1")
    assert [event.subject for event in hub.wait(900, 0.0).events] == ["h1"]


def test_a_page_is_bounded() -> None:
    hub = EventHub(ThreadRuntime(), "c1")
    tell(hub, *map(str, range(2500)))
    cursor, sizes = 0, []
    while events := (page := hub.wait(cursor, 0.0)).events:
        sizes.append(len(events))
        cursor = page.cursor
    assert sizes == [1000, 1000, 500]

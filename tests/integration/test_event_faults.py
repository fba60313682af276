"""Events while the broker dies: nobody waits for it, and what was dropped is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.conf.event import EventSettings
from drover.lab.rabbitmq import PrivateRabbit
from drover.objects.event import Event, EventKind, host_event
from drover.rpc.event import Interest
from drover.rpc.rabbit_event import RabbitEvents, RabbitReader
from drover.runtime.port import free_ports
from drover.runtime.threads import ThreadRuntime
from tests.broker import started_broker
from tests.machine import wait_until


@pytest.fixture
def broker(runtime: ThreadRuntime) -> Iterator[PrivateRabbit]:
    with started_broker(runtime) as started:
        yield started


def listen(reader: RabbitReader, came: list[Event], stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            came += reader.read(0.5)
        except errors.BusUnavailable:
            stop.wait(0.2)


def test_a_dead_broker_holds_up_nobody_and_events_go_on_after_it(runtime: ThreadRuntime, broker: PrivateRabbit) -> None:
    settings = BusSettings(transport_url=broker.url)
    came: list[Event] = []
    stop = threading.Event()
    with (
        closing(RabbitEvents(runtime, settings, EventSettings(queue_length=20), "c1")) as sink,
        closing(RabbitReader(runtime, settings, Interest())) as reader,
    ):
        reader.read(0.2)
        listening = runtime.spawn("listen", lambda: listen(reader, came, stop))
        sink.publish([host_event("first", "up")])
        wait_until(lambda: [event.subject for event in came] == ["first"], "the first event")
        broker.kill9()
        began = runtime.clock.monotonic()
        for number in range(200):
            sink.publish([host_event(f"h{number}", "up")])
        assert runtime.clock.monotonic() - began < 1.0
        broker.start()

        def heard_again() -> bool:
            # The reader may be back after the sender: what is told now comes to it.
            sink.publish([host_event("again", "up")])
            stop.wait(0.2)
            return any(event.subject == "again" for event in came)

        wait_until(heard_again, "events after the restart", timeout_s=90)
        stop.set()
        assert listening.join(30)


def test_the_newest_are_kept_and_the_others_counted(runtime: ThreadRuntime, broker: PrivateRabbit) -> None:
    settings = BusSettings(transport_url=broker.url)
    with closing(RabbitReader(runtime, settings, Interest(kinds=("host",)))) as reader:
        reader.read(0.2)
        sink = RabbitEvents(runtime, settings, EventSettings(queue_length=5), "c1")
        # In one piece, so that its task sees them all at once.
        sink.publish([host_event(f"h{number}", "up") for number in range(12)])
        came: list[Event] = []
        while len(came) < 6:
            came += reader.read(30.0)
        assert came[0].kind == EventKind.LOST
        assert came[0].detail.startswith("7 events were dropped")
        assert [event.subject for event in came[1:]] == [f"h{number}" for number in range(7, 12)]
        sink.close()


def test_closing_does_not_wait_for_a_broker_that_is_away(runtime: ThreadRuntime) -> None:
    (port,) = free_ports(1)
    settings = BusSettings(transport_url=f"rabbit://u:p@127.0.0.1:{port}/v")
    sink = RabbitEvents(runtime, settings, EventSettings(), "c1")
    sink.publish([host_event("h1", "up")])
    began = runtime.clock.monotonic()
    sink.close()
    assert runtime.clock.monotonic() - began < 10.0
    reader = RabbitReader(runtime, settings, Interest())
    with pytest.raises(errors.BusUnavailable):
        reader.read(1.0)

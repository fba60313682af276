"""Events from a sink to readers: over RabbitMQ, and from the memory of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, cast

import pytest

from drover.conf.bus import BusSettings
from drover.conf.event import EventSettings
from drover.lab.rabbitmq import PrivateRabbit
from drover.objects.event import Event, EventKind, EventPage, host_event
from drover.rpc.bus import Address
from drover.rpc.conductor import WAIT_CONTRACT
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.event import EventHub, EventReader, EventSink, HubReader, Interest
from drover.rpc.rabbit_event import RabbitEvents, RabbitReader
from drover.runtime.threads import ThreadRuntime

CTX = RequestContext(request_id="req-1")
WAIT_S = 30.0


class Stream:
    """One way for events."""

    def __init__(self, sink: EventSink, read: Callable[[Interest], EventReader], stack: ExitStack) -> None:
        self.sink = sink
        self._read = read
        self._stack = stack

    def reader(self, **interest: Any) -> EventReader:
        """One that is there: what is told from now on comes."""
        reader = self._stack.enter_context(closing(self._read(Interest(**interest))))
        reader.read(0.2)
        return reader


class Waiting:
    """The part of a conductor that answers long polls."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    def event_wait(self, ctx: RequestContext, cursor: int, timeout_s: float = 30.0) -> EventPage:
        return self._hub.wait(cursor, timeout_s)


@pytest.fixture
def hub_stream(runtime: ThreadRuntime) -> Iterator[Stream]:
    with ExitStack() as stack:
        hub, bus = EventHub(runtime, "c1"), stack.enter_context(closing(EmbeddedBus(runtime)))
        bus.serve(Address(WAIT_CONTRACT.topic), Endpoint(WAIT_CONTRACT, cast("Any", Waiting(hub))), 4)
        yield Stream(hub, lambda interest: HubReader(bus, CTX, interest), stack)


@pytest.fixture
def rabbit_stream(runtime: ThreadRuntime, rabbitmq: PrivateRabbit) -> Iterator[Stream]:
    settings = BusSettings(transport_url=rabbitmq.url)
    with ExitStack() as stack:
        sink = stack.enter_context(closing(RabbitEvents(runtime, settings, EventSettings(), "c1")))
        yield Stream(sink, lambda interest: RabbitReader(runtime, settings, interest), stack)


@pytest.fixture(params=["hub", "rabbit"])
def stream(request: pytest.FixtureRequest) -> Stream:
    made: Stream = request.getfixturevalue(f"{request.param}_stream")
    return made


def operation(project: str, instance: str, state: str = "running") -> Event:
    return Event(kind=EventKind.OPERATION, subject=instance, project_id=project, state=state, detail="ü\n{}")


def read(reader: EventReader, count: int) -> list[Event]:
    came: list[Event] = []
    for _ in range(100):
        came += reader.read(WAIT_S if len(came) < count else 0.2)
        if len(came) >= count:
            break
    return came


def test_what_is_told_comes_whole_and_in_order(stream: Stream) -> None:
    reader = stream.reader()
    told = [operation("p1", f"i{number}") for number in range(50)]
    stream.sink.publish(told)
    came = read(reader, 50)
    assert [event.subject for event in came] == [event.subject for event in told]
    assert {(event.source, event.detail, event.version) for event in came} == {("c1", "ü\n{}", 1)}
    assert all(event.at is not None for event in came)


def test_each_reader_gets_what_it_wants(stream: Stream) -> None:
    everything = stream.reader()
    mine = stream.reader(project="p.1")
    one = stream.reader(instance="i2")
    hosts = stream.reader(kinds=("host",))
    stream.sink.publish([operation("p.1", "i1"), operation("p2", "i2"), host_event("h1.example.org", "up")])
    stream.sink.publish([operation("p.1", "i2", "succeeded")])
    assert [event.subject for event in read(everything, 4)] == ["i1", "i2", "h1.example.org", "i2"]
    assert [event.subject for event in read(mine, 3)] == ["i1", "h1.example.org", "i2"]
    assert [event.state for event in read(one, 2)] == ["running", "succeeded"]
    assert [event.state for event in read(hosts, 1)] == ["up"]


def test_nothing_comes_when_nothing_is_told(stream: Stream) -> None:
    assert stream.reader().read(0.1) == []


def test_telling_nobody_costs_nothing_and_is_forgotten(stream: Stream) -> None:
    stream.sink.publish([operation("p1", "i1")])
    probe = stream.reader()
    stream.sink.publish([operation("p1", "i2")])
    assert [event.subject for event in read(probe, 1)][-1:] == ["i2"]

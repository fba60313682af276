"""From a Protocol to a client and an endpoint, over a bus that only remembers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from drover import errors
from drover.rpc import agent, conductor, scheduler
from drover.rpc.bus import Address, Dispatcher, Message, Server
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, Endpoint, call, cast_, client

CTX = RequestContext(request_id="req-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: int = 0


class ShapeAPI(Protocol):
    @call
    def move(self, ctx: RequestContext, point: Point, by: int = 1) -> Point: ...

    @call
    def wait(self, ctx: RequestContext, timeout_s: float = 30.0) -> str: ...

    @cast_
    def draw(self, ctx: RequestContext, points: tuple[Point, ...]) -> None: ...

    def unmarked(self, ctx: RequestContext) -> None: ...


CONTRACT = Contract("shape", "1.3", ShapeAPI)


@dataclass
class MemoryBus:
    """Remembers what is sent and answers each call with *reply*."""

    reply: Any = None
    sent: list[tuple[str, Address, Message, float | None]] = field(default_factory=list)

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        self.sent.append(("call", address, message, timeout_s))
        return self.reply

    def cast(self, address: Address, message: Message) -> None:
        self.sent.append(("cast", address, message, None))

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:
        raise NotImplementedError

    def close(self) -> None: ...


class Shape:
    def __init__(self) -> None:
        self.drawn: list[object] = []

    def move(self, ctx: RequestContext, point: Point, by: int = 99) -> Point:
        return Point(x=point.x + by, y=point.y)

    def wait(self, ctx: RequestContext, timeout_s: float = 99.0) -> str:
        return ctx.request_id

    def draw(self, ctx: RequestContext, points: tuple[Point, ...]) -> None:
        self.drawn.extend(points)

    def unmarked(self, ctx: RequestContext) -> None:
        raise AssertionError


def _message(method: str, version: str = "1.0", **args: Any) -> Message:
    return Message(method=method, args=args, context={"request_id": "r"}, version=version)


def test_a_call_becomes_a_message_and_its_reply_a_value() -> None:
    bus = MemoryBus(reply={"x": 5, "y": 2, "colour": "of a later release"})
    assert client(CONTRACT, bus, server="s1", timeout_s=4.0).move(CTX, Point(x=1), by=4) == Point(x=5, y=2)
    kind, address, message, timeout_s = bus.sent[0]
    assert (kind, str(address), timeout_s) == ("call", "shape.s1", 4.0)
    assert message.args == {"point": {"x": 1, "y": 0}, "by": 4}
    assert message.context["request_id"] == "req-1"
    assert message.version == "1.3"


def test_only_what_is_given_travels() -> None:
    bus = MemoryBus(reply={"x": 1})
    client(CONTRACT, bus).move(CTX, Point(x=1))
    assert set(bus.sent[0][2].args) == {"point"}


def test_a_cast_waits_for_nothing() -> None:
    bus = MemoryBus()
    client(CONTRACT, bus).draw(CTX, (Point(x=1), Point(x=2)))
    kind, _, message, _ = bus.sent[0]
    assert (kind, list(message.args["points"])) == ("cast", [{"x": 1, "y": 0}, {"x": 2, "y": 0}])


@pytest.mark.parametrize(("given", "patience_s"), [({}, 35.0), ({"timeout_s": 2.5}, 7.5)])
def test_a_call_outlasts_the_long_poll_it_asks_for(given: dict[str, float], patience_s: float) -> None:
    bus = MemoryBus(reply="")
    client(CONTRACT, bus, timeout_s=5.0).wait(CTX, **given)
    assert bus.sent[0][3] == patience_s


@pytest.mark.parametrize("args", [(), (Point(x=1), 2, 3)])
def test_a_caller_with_the_wrong_arguments_is_told_at_once(args: tuple[Any, ...]) -> None:
    bus = MemoryBus()
    with pytest.raises(TypeError):
        client(CONTRACT, bus).move(CTX, *args)
    assert bus.sent == []


def test_a_client_has_the_contracts_methods_only() -> None:
    with pytest.raises(AttributeError):
        client(CONTRACT, MemoryBus()).unmarked(CTX)


def test_a_reply_that_does_not_fit_is_refused() -> None:
    with pytest.raises(errors.BadRequest, match="move reply"):
        client(CONTRACT, MemoryBus(reply={"x": "one"})).move(CTX, Point(x=1))


def test_an_endpoint_runs_the_method() -> None:
    shape = Shape()
    endpoint = Endpoint(CONTRACT, shape)
    assert endpoint.methods == {"move", "wait", "draw"}
    assert endpoint.dispatch(_message("move", point={"x": 3, "unknown": 1})) == {"x": 4, "y": 0}
    assert endpoint.dispatch(_message("draw", points=[{"x": 3}])) is None
    assert shape.drawn == [Point(x=3)]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (_message("unmarked"), errors.UnknownMethod),
        (_message("__class__"), errors.UnknownMethod),
        (_message("move"), errors.BadRequest),
        (_message("move", point={"x": "3"}), errors.BadRequest),
        (_message("move", point={}), errors.BadRequest),
        (_message("move", point={"x": 1}, by=None), errors.BadRequest),
        (_message("move", point={"x": 1}, extra=1), errors.BadRequest),
        (Message(method="wait"), errors.BadRequest),
        (Message(method="wait", context={"request_id": 5}), errors.BadRequest),
        (_message("wait", version="1.4"), errors.UnsupportedVersion),
        (_message("wait", version="2.0"), errors.UnsupportedVersion),
        (_message("wait", version="0.1"), errors.UnsupportedVersion),
        (_message("wait", version="latest"), errors.UnsupportedVersion),
        (_message("wait", version="1"), errors.UnsupportedVersion),
    ],
)
def test_an_endpoint_refuses(message: Message, error: type[errors.DroverError]) -> None:
    with pytest.raises(error) as caught:
        Endpoint(CONTRACT, Shape()).dispatch(message)
    assert type(caught.value) is error


def test_argument_names_the_library_takes_itself_are_refused() -> None:
    class Clash(Protocol):
        @call
        def go(self, ctx: RequestContext, method: str) -> None: ...

    with pytest.raises(TypeError, match="method"):
        Contract("clash", "1.0", Clash)


@pytest.mark.parametrize(
    "contract",
    [agent.CONTRACT, conductor.CONTRACT, conductor.WAIT_CONTRACT, scheduler.CONTRACT],
    ids=lambda contract: contract.topic,
)
def test_every_contract_is_documented_or_plain(contract: Contract[Any]) -> None:
    assert contract.methods
    assert contract.protocol.__doc__


def test_a_contract_costs_no_messaging_library() -> None:
    program = (
        "import sys, drover.rpc.conductor, drover.rpc.agent, drover.rpc.connect, drover.rpc.unix;"
        "print([m for m in ('oslo_messaging', 'kombu', 'amqp', 'eventlet', 'sqlalchemy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"

"""The bus over a broker that dies, refuses, fills up and is fed rubbish."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.lab.rabbitmq import PrivateRabbit
from drover.rpc.bus import MAX_MESSAGE_BYTES, Address, Message
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, Endpoint, client
from drover.rpc.transport import RabbitBus
from drover.runtime.port import free_ports
from drover.runtime.threads import ThreadRuntime
from tests.broker import started_broker
from tests.contract.bus.probe import CONTRACT, Probe, ProbeAPI

CTX = RequestContext(request_id="req-1")
SEND_RETRIES = 1
kombu: Any = importlib.import_module("kombu")  # half typed
_Connection: Any = importlib.import_module("drover.rpc.rabbit")._Connection
amqpdriver: Any = importlib.import_module("oslo_messaging._drivers.amqpdriver")  # not typed


@pytest.fixture(scope="module")
def broker(runtime: ThreadRuntime) -> Iterator[PrivateRabbit]:
    """One that nobody else uses: it dies here."""
    with started_broker(runtime) as started:
        yield started


class Ends:
    """A server and a client of one probe, on buses of their own."""

    def __init__(self, runtime: ThreadRuntime, broker: PrivateRabbit, stack: ExitStack) -> None:
        settings = BusSettings(transport_url=broker.url, send_retries=SEND_RETRIES)
        self.name = runtime.uuid()
        self.probe = Probe(runtime)
        self.serving = stack.enter_context(closing(RabbitBus(runtime, settings, name="serving")))
        self.calling = stack.enter_context(closing(RabbitBus(runtime, settings, name="calling")))

    def serve(self) -> None:
        self.serving.serve(Address("probe", self.name), Endpoint(CONTRACT, self.probe), 4)

    def client(self, timeout_s: float = 60.0) -> ProbeAPI:
        return client(CONTRACT, self.calling, server=self.name, timeout_s=timeout_s)


@pytest.fixture
def ends(runtime: ThreadRuntime, broker: PrivateRabbit) -> Iterator[Ends]:
    broker.start()
    with ExitStack() as stack:
        yield Ends(runtime, broker, stack)
        broker.start()


def test_the_same_buses_work_again_after_the_broker_died(
    runtime: ThreadRuntime, broker: PrivateRabbit, ends: Ends
) -> None:
    ends.serve()
    assert ends.client().echo(CTX, {})["value"] == {}
    broker.kill9()
    began = runtime.clock.monotonic()
    with pytest.raises(errors.Unavailable):
        ends.client(timeout_s=5.0).echo(CTX, {})
    with pytest.raises(errors.BusUnavailable):
        ends.client().note(CTX, "lost")
    assert runtime.clock.monotonic() - began < 30
    broker.start()
    assert _until_answered(runtime, ends) == {}


def test_a_call_whose_broker_dies_under_it_ends_typed(
    runtime: ThreadRuntime, broker: PrivateRabbit, ends: Ends
) -> None:
    ends.serve()
    outcome = runtime.queue()

    def ask() -> None:
        try:
            outcome.put(ends.client(timeout_s=45.0).hold(CTX, "running"))
        except errors.DroverError as exc:
            outcome.put(exc.code)

    caller = runtime.spawn("ask", ask)
    assert ends.probe.next_begun() == "running"
    broker.kill9()
    ends.probe.gate.set()
    broker.start()
    assert caller.join(90)
    # Unavailable: the broker had delivered the message, and died before it told the sender so.
    assert outcome.drain() in (["running"], ["CallTimeout"], ["BusUnavailable"])
    assert len(ends.probe.begun()) <= SEND_RETRIES  # what was never confirmed is sent again: not once, but bounded


def test_a_server_waits_for_the_broker(runtime: ThreadRuntime, broker: PrivateRabbit, ends: Ends) -> None:
    broker.kill9()
    starting = runtime.spawn("serve", ends.serve)
    assert not starting.join(1.0)
    broker.start()
    assert starting.join(60)
    assert _until_answered(runtime, ends) == {}


def test_a_server_whose_broker_dies_while_it_is_set_up_serves_when_it_is_back(
    runtime: ThreadRuntime, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first queue, in the way that was seen: the library repeats much, but not this."""
    read, reads = _Connection.read, list[str]()

    def dies_once(connection: Any, queue: str, *more: Any) -> None:
        reads.append(queue)
        if len(reads) == 2:
            raise ConnectionResetError(104, "Connection reset by peer")
        read(connection, queue, *more)

    monkeypatch.setattr(_Connection, "read", dies_once)
    ends.serve()
    assert reads == [*reads[:2], *reads[:2]]
    address = Address("probe", ends.name)
    assert _until_answered(runtime, ends) == {}
    assert ends.calling.inspect([address])[address].readers == 1


def test_what_waited_for_a_server_is_done_when_it_starts(
    runtime: ThreadRuntime, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that has nothing to read sleeps; here so long that what it took with it would be late for good."""
    for name in ("MIN", "MAX"):
        monkeypatch.setattr(amqpdriver, f"ACK_REQUEUE_EVERY_SECONDS_{name}", 600.0)
    address, endpoint = Address(f"probe-{ends.name}", "one"), Endpoint(CONTRACT, ends.probe)
    ends.serving.serve(address, endpoint, 4).stop()  # its queues stay
    contract = Contract(address.topic, CONTRACT.version, ProbeAPI)
    client(contract, ends.calling).note(CTX, "early")
    ends.serving.serve(address, endpoint, 4)
    assert ends.probe.next_begun() == "early"


def test_stopping_does_not_wait_for_the_broker(runtime: ThreadRuntime, broker: PrivateRabbit, ends: Ends) -> None:
    ends.serve()
    assert ends.client().echo(CTX, {})["value"] == {}
    broker.kill9()
    assert runtime.spawn("close", ends.serving.close).join(30)
    assert runtime.spawn("close", ends.calling.close).join(30)


def test_a_refused_login_is_named(runtime: ThreadRuntime, broker: PrivateRabbit) -> None:
    url = f"rabbit://drover:wrong@127.0.0.1:{broker.port}/drover"
    with closing(RabbitBus(runtime, BusSettings(transport_url=url, send_retries=0), name="stranger")) as bus:
        message = Message(method="note", args={"tag": "x"})
        with pytest.raises(errors.BusUnavailable, match="AccessRefused"):
            bus.cast(Address("probe"), message)


def _envelope(**body: Any) -> bytes:
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(body)}).encode()


POISON: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{]", "application/json"),
    "binary": (bytes(range(256)), "application/json"),
    "a list": (b"[1, 2]", "application/json"),
    "null": (b"null", "application/json"),
    "no envelope": (b'{"hello": 1}', "application/json"),
    "envelope of nothing": (b'{"oslo.version": "2.0", "oslo.message": "7"}', "application/json"),
    "envelope of a later version": (b'{"oslo.version": "9.0", "oslo.message": "{}"}', "application/json"),
    "no method": (_envelope(args={}), "application/json"),
    "method a number": (_envelope(method=5, args={}), "application/json"),
    "method a list": (_envelope(method=["note"], args={}), "application/json"),
    "args a list": (_envelope(method="note", args=["x"]), "application/json"),
    "a reply to nowhere": (_envelope(method="note", _msg_id="m", _reply_q=""), "application/json"),
    "context a number": (_envelope(method="note", args={"tag": "x"}, _context_request_id=3), "application/json"),
    "pickle": (b"\x80\x04K\x01.", "application/x-python-serialize"),
    "unknown type": (b"abc", "application/what"),
    "deep": (b"[" * 100_000, "application/json"),
    "over the limit": (
        _envelope(method="note", args={"tag": "x" * MAX_MESSAGE_BYTES}, _context_request_id="r"),
        "application/json",
    ),
}


@pytest.mark.parametrize("name", POISON)
def test_rubbish_in_the_queue_kills_nothing(broker: PrivateRabbit, ends: Ends, name: str) -> None:
    body, content_type = POISON[name]
    ends.serve()
    _publish(broker, f"probe.{ends.name}", body, content_type)
    assert ends.client().echo(CTX, {})["value"] == {}
    assert ends.probe.begun() == ["echo"]


def test_the_broker_refuses_what_no_sender_of_ours_would_send(broker: PrivateRabbit, ends: Ends) -> None:
    ends.serve()
    with pytest.raises(Exception, match="PRECONDITION_FAILED"):
        _publish(broker, f"probe.{ends.name}", b"x" * (20 << 20), "application/json")
    assert ends.client().echo(CTX, {})["value"] == {}


def test_the_queue_of_an_absent_agent_is_bounded(runtime: ThreadRuntime, broker: PrivateRabbit, ends: Ends) -> None:
    name = f"agent.{ends.name}"
    with kombu.Connection(_amqp(broker)) as connection, connection.channel() as channel:
        queue = kombu.Queue(name, kombu.Exchange("amq.topic"), name, durable=False)(channel)
        queue.declare()
        producer = kombu.Producer(channel)
        for number in range(1100):
            producer.publish({"n": number}, exchange="amq.topic", routing_key=name)
        deadline = runtime.clock.monotonic() + 30
        while (count := queue.queue_declare(passive=True).message_count) != 1000:
            assert runtime.clock.monotonic() < deadline, count
            runtime.sleep(0.05)
        queue.delete()


def test_stopping_leaves_no_process(runtime: ThreadRuntime) -> None:
    port, dist_port, epmd_port = free_ports(3)
    with started_broker(runtime, ports=(port, dist_port, epmd_port)) as first:
        again = PrivateRabbit(first.directory, runtime, port=port, dist_port=dist_port, epmd_port=epmd_port)
        assert again.is_running()
        assert again.url == first.url
        again.stop()
        assert not first.is_running()
        assert _commands(first.directory) == []


def _commands(directory: Path) -> list[str]:
    """Every live process that names *directory* in its environment, seen without the code under test."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (entry / "environ").read_bytes():
                found.append((entry / "comm").read_text().strip())
        except OSError:
            continue
    return found


def _until_answered(runtime: ThreadRuntime, ends: Ends) -> object:
    """The server subscribes anew some seconds after the broker is back."""
    deadline = runtime.clock.monotonic() + 60
    while True:
        try:
            return ends.client(timeout_s=3.0).echo(CTX, {})["value"]
        except errors.Unavailable:
            assert runtime.clock.monotonic() < deadline


def _amqp(broker: PrivateRabbit) -> str:
    return broker.url.replace("rabbit://", "amqp://")


def _publish(broker: PrivateRabbit, routing_key: str, body: bytes, content_type: str) -> None:
    options = {"confirm_publish": True}
    with kombu.Connection(_amqp(broker), transport_options=options) as connection:
        connection.Producer().publish(
            body,
            exchange="amq.direct",
            routing_key=routing_key,
            content_type=content_type,
            content_encoding="utf-8",
            user_id="drover",
        )

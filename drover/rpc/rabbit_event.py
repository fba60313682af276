"""Events over RabbitMQ, with kombu: a connection apart from the bus, so that neither can hold up the other.

Published without confirms and for nobody in particular: a queue belongs to its reader and goes with it, and without
readers the broker drops what comes.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import amqp
import kombu
import kombu.exceptions

from drover import errors, log
from drover.conf.bus import BusSettings
from drover.conf.event import EventSettings
from drover.objects import codec
from drover.objects.event import Event, EventKind
from drover.rpc.broker import BrokerUrl
from drover.rpc.event import EVENTS, Interest, routing_key
from drover.runtime import Runtime, Task

__all__ = ["RabbitEvents", "RabbitReader"]

LOG = log.get(__name__)

_kombu: Any = kombu  # half typed
_BROKER_ERRORS = (kombu.exceptions.KombuError, amqp.AMQPError, OSError)
_JSON = "application/json"
_CONNECT_S = 5.0
#: a send that makes no progress for so long is given up
_STALL_S = 10.0
_HEARTBEAT_S = 30
#: both sides of a connection look after it so often
_LOOK_S = 5.0
#: between attempts to connect
_AGAIN_S = 2.0
#: events that wait in the broker for a reader that is slow; the oldest give way
_READER_LENGTH = 50_000
_CLOSE_S = 2.0
#: events of one turn of the publisher
_BATCH = 500


class RabbitEvents:
    """Implements :class:`drover.rpc.event.EventSink`. Nothing is connected before the first event.

    :param name: of this process, the ``source`` of its events.
    """

    def __init__(self, runtime: Runtime, bus: BusSettings, settings: EventSettings, name: str) -> None:
        self._runtime = runtime
        self._name = name
        self._most = settings.queue_length
        self._line = _Line(bus, f"{name}-events")
        self._producer: Any = None
        self._gate = runtime.lock()  # protects the next three
        self._waiting: deque[Event] = deque()
        self._dropped = 0  # since readers were last told
        self._task: Task | None = None
        self._wake = runtime.event()
        self._closed = runtime.event()

    def publish(self, events: Sequence[Event]) -> None:
        if not events:
            return
        now = self._runtime.clock.now()
        with self._gate:
            self._waiting.extend(replace(event, source=self._name, at=now) for event in events)
            self._drop_oldest()
            if self._task is None:
                self._task = self._runtime.spawn("events", self._run)
        self._wake.set()

    def close(self) -> None:
        """Send what is there, within two seconds."""
        self._closed.set()
        self._wake.set()
        if self._task is not None and not self._task.join(_CLOSE_S):
            LOG.info("events not sent", events=len(self._waiting))

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._dropped += 1

    def _run(self) -> None:
        away = False
        while self._waiting or not self._closed.is_set():
            if self._wake.wait(_LOOK_S):
                self._wake.clear()
            try:
                if self._producer is not None:
                    self._line.look_after(0.0)
                self._send_all()
                away = False
            except _BROKER_ERRORS as exc:
                if not away:
                    LOG.warning("events are not sent", error=exc)
                away = True
                self._producer = None
                self._line.drop()
                if self._closed.wait(_AGAIN_S):
                    return
                self._wake.set()
        self._line.drop()

    def _send_all(self) -> None:
        while batch := self._take():
            try:
                self._producer = self._producer or self._line.producer()
                while batch:
                    self._put(batch[0])
                    batch.popleft()
            except BaseException:
                self._give_back(batch)
                raise

    def _take(self) -> deque[Event]:
        """The oldest, behind the news of those that were dropped before them."""
        with self._gate:
            batch = deque(self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting))))
            dropped, self._dropped = self._dropped, 0
        if dropped:
            words = f"{dropped} events were dropped while the broker was away"
            at = self._runtime.clock.now()
            batch.appendleft(
                Event(
                    kind=EventKind.LOST, subject=self._name, detail=words, source=self._name, code=str(dropped), at=at
                )
            )
        return batch

    def _give_back(self, batch: deque[Event]) -> None:
        with self._gate:
            if batch and batch[0].kind == EventKind.LOST:
                self._dropped += int(batch.popleft().code)
            self._waiting.extendleft(reversed(batch))
            self._drop_oldest()

    def _put(self, event: Event) -> None:
        self._producer.publish(
            codec.to_json(event).encode(),
            routing_key=routing_key(event),
            content_type=_JSON,
            content_encoding="utf-8",
            delivery_mode=1,
            user_id=self._line.user,
        )


class RabbitReader:
    """Implements :class:`drover.rpc.event.EventReader` by a queue of its own."""

    def __init__(self, runtime: Runtime, bus: BusSettings, interest: Interest) -> None:
        self._clock = runtime.clock
        self._interest = interest
        self._line = _Line(bus, "drover-events")
        self._consumer: Any = None
        self._came: list[Event] = []

    def read(self, timeout_s: float) -> list[Event]:
        until_s = self._clock.monotonic() + timeout_s
        try:
            if self._consumer is None:
                self._consumer = self._consume()
            while not self._came and (left_s := until_s - self._clock.monotonic()) > 0:
                self._line.look_after(min(left_s, _LOOK_S))
        except _BROKER_ERRORS as exc:
            self.close()
            raise errors.BusUnavailable(detail=f"{type(exc).__name__}: {exc}".splitlines()[0]) from None
        came, self._came = self._came, []
        return came

    def close(self) -> None:
        self._consumer = None
        self._line.drop()

    def _consume(self) -> Any:
        channel = self._line.channel()
        exchange = _exchange()
        queue = _kombu.Queue(
            "",
            bindings=[_kombu.binding(exchange, routing_key=key) for key in self._interest.binding_keys()],
            exclusive=True,
            auto_delete=True,
            durable=False,
            queue_arguments={"x-max-length": _READER_LENGTH},
        )
        consumer = _kombu.Consumer(channel, queues=[queue], on_message=self._take, no_ack=True)
        consumer.consume()
        return consumer

    def _take(self, message: Any) -> None:
        try:
            event = codec.from_json(message.body, Event, what="event")
        except errors.BadRequest as exc:
            LOG.debug("no event", error=exc)
            return
        if self._interest.takes(event):
            self._came.append(event)


class _Line:
    """One connection, made when it is needed, to any node of the broker."""

    def __init__(self, bus: BusSettings, name: str) -> None:
        url = BrokerUrl.parse(bus.transport_url)
        login = f"{quote(url.user, safe='')}:{quote(url.password, safe='')}"
        self._nodes = [f"pyamqp://{login}@{node}/{quote(url.vhost, safe='')}" for node in url.nodes]
        self._ssl = _ssl(bus)
        self._name = name
        self._connection: Any = None
        self.user = url.user

    def channel(self) -> Any:
        """A channel of a connection that works; the exchange is there."""
        self.drop()
        self._connection = _kombu.Connection(
            self._nodes,
            ssl=self._ssl,
            connect_timeout=_CONNECT_S,
            heartbeat=_HEARTBEAT_S,
            transport_options={
                "read_timeout": _STALL_S,
                "write_timeout": _STALL_S,
                "client_properties": {"connection_name": self._name},
            },
        )
        self._connection.ensure_connection(max_retries=len(self._nodes), interval_start=0, interval_step=0)
        channel = self._connection.channel()
        _exchange()(channel).declare()
        return channel

    def producer(self) -> Any:
        return _kombu.Producer(self.channel(), exchange=_exchange())

    def look_after(self, timeout_s: float) -> None:
        """Take what comes within *timeout_s*; notice a connection that is gone."""
        self._connection.heartbeat_check()
        try:
            self._connection.drain_events(timeout=timeout_s or 0.001)
        except TimeoutError:
            return

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.collect(socket_timeout=0.5)  # closes the socket; close() would wait for the broker


def _exchange() -> Any:
    return _kombu.Exchange(EVENTS, type="topic", durable=True)


def _ssl(bus: BusSettings) -> Any:
    """As the bus has it: the broker's certificate is always verified."""
    if not bus.ssl:
        return False
    files = {"ca_certs": bus.ssl_ca_file, "certfile": bus.ssl_cert_file, "keyfile": bus.ssl_key_file}
    return {"cert_reqs": ssl.CERT_REQUIRED, **{name: file for name, file in files.items() if file}}

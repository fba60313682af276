"""The bus over RabbitMQ by oslo.messaging: with :mod:`drover.rpc.rabbit` the only module that sees it and kombu.

What it adds to the library (each was measured, see docs/architecture.md): eventlet stays out of the process;
every send has a finite number of tries; a server takes no more than it can run, so that the rest stays in the
broker for another server; errors arrive as what they were, without the far side's traceback; nobody is served
whom the broker does not vouch for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

sys.modules["eventlet"] = None  # type: ignore[assignment]  # oslo.service would import it: 10 MiB, and a hub nobody wants
from oslo_service import backend  # noqa: E402

backend.init_backend(backend.BackendType.THREADING)

import amqp  # noqa: E402
import kombu.exceptions  # noqa: E402
import oslo_messaging  # noqa: E402
from oslo_messaging.rpc import dispatcher as rpc_dispatcher  # noqa: E402
from oslo_messaging.rpc import server as rpc_server  # noqa: E402
from oslo_messaging.transport import RPCTransport  # noqa: E402

from drover import errors, log, retry  # noqa: E402
from drover.conf.bus import BusSettings  # noqa: E402
from drover.objects import codec  # noqa: E402
from drover.rpc import rabbit, wire  # noqa: E402
from drover.rpc.bus import Address, Dispatcher, Message, QueueState, Server  # noqa: E402
from drover.rpc.sender import check_sender  # noqa: E402
from drover.runtime import Event, Lock, Pool, Queue, Runtime  # noqa: E402

__all__ = ["RabbitBus"]

LOG = log.get(__name__)

#: What a broker that is away, refuses or breaks off looks like; oslo.messaging lets kombu's and amqp's errors through.
_BROKER_ERRORS = (
    oslo_messaging.MessagingException,
    oslo_messaging.MessageDeliveryFailure,
    kombu.exceptions.KombuError,
    amqp.AMQPError,
    OSError,
)
#: Nobody listens here: a message to it proves the way to the broker and is dropped there.
_NOBODY = Address("nobody")
#: Warn of what is normal under load, once per waiting sender, and of frames that cross a close.
_NOISY = ("oslo_messaging._drivers.pool", "oslo_messaging._drivers.amqpdriver", "amqp")


#: seconds until a listener has noticed that it is to stop: it looks up every 5 s
_LISTENER_S = 6.0


class RabbitBus:
    """Implements :class:`drover.rpc.bus.Bus`.

    Nothing is connected before the first use.

    :param name: of this process, for logs.
    """

    def __init__(self, runtime: Runtime, settings: BusSettings, *, name: str) -> None:
        for logger in _NOISY:
            logging.getLogger(logger).setLevel(logging.ERROR)
        self._runtime = runtime
        self._settings = settings
        self._name = name
        self._closed = runtime.event()
        self._servers: list[_RabbitServer] = []
        self._serving = runtime.lock()  # held while a server is made
        self._options = rabbit.configuration(settings)
        try:
            url = oslo_messaging.TransportURL.parse(self._options, settings.transport_url)
        except (oslo_messaging.InvalidTransportURL, ValueError):
            # The text may hold a password, so it is not shown.
            raise errors.InvalidConfig(reason="[bus] transport_url is no URL of a bus") from None
        self._driver = rabbit.RabbitDriver(self._options, url, name)
        self._transport = RPCTransport(self._driver)
        self._client = oslo_messaging.get_rpc_client(self._transport, oslo_messaging.Target(topic=_NOBODY.topic))
        self._replies = _ReplyQueue(runtime, self)

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        wire.pack_request(message)
        self._check_open()
        self._replies.ensure(timeout_s)
        try:
            return self._prepared(address, message, timeout_s).call(message.context, message.method, **message.args)
        except oslo_messaging.MessagingTimeout:
            raise errors.CallTimeout(topic=str(address), method=message.method, timeout_s=timeout_s) from None
        except errors.DroverError as exc:
            raise errors.from_dict({"code": exc.code, "params": exc.kwargs}) from None
        except oslo_messaging.RemoteError as exc:
            raise errors.DroverError(detail=f"{exc.exc_type}: {exc.value}") from None
        except _BROKER_ERRORS as exc:
            raise _unavailable(exc) from None

    def cast(self, address: Address, message: Message) -> None:
        wire.pack_request(message)
        self._check_open()
        try:
            self._prepared(address, message, None).cast(message.context, message.method, **message.args)
        except _BROKER_ERRORS as exc:
            raise _unavailable(exc) from None

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:
        self._check_open()
        target = oslo_messaging.Target(topic=address.topic, server=address.server or self._name)
        slots = _Slots(self._runtime, str(address), workers)

        def start() -> _RabbitServer:
            self.reach()
            try:
                return self._started(target, _Door(address, dispatcher), slots, _prefetch(workers))
            except _BROKER_ERRORS as exc:  # it died after it was reached
                raise _unavailable(exc) from None

        server = retry.until_available(self._runtime, "message bus", start, stopped=self._closed.is_set)
        self._servers.append(server)
        LOG.info("serving", address=address, workers=workers)
        return server

    def _started(self, target: oslo_messaging.Target, door: _Door, slots: _Slots, prefetch: int) -> _RabbitServer:
        server = _BoundedRPCServer(self._transport, target, door, slots)
        with self._serving:
            # The library reads it for each connection that it makes, and makes one for each server.
            self._options.set_override("rabbit_qos_prefetch_count", prefetch, group="oslo_messaging_rabbit")
            return _RabbitServer(self._runtime, server, slots, self._settings.drain_timeout_s)

    def inspect(self, addresses: Sequence[Address]) -> dict[Address, QueueState]:
        """See :class:`drover.rpc.bus.Inspectable`."""
        self._check_open()
        try:
            counts = self._driver.count([str(address) for address in addresses])
        except _BROKER_ERRORS as exc:
            raise _unavailable(exc) from None
        states = (QueueState(messages=messages, readers=readers) for messages, readers in counts)
        return dict(zip(addresses, states, strict=True))

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        for server in self._servers:
            server.stop()
        # Letting connections go may wait for a broker that is away; the process need not.
        self._runtime.spawn("bus-cleanup", self._transport.cleanup).join(5.0)

    def is_closed(self) -> bool:
        return self._closed.is_set()

    def reach(self) -> None:
        """:raises errors.BusUnavailable: the broker cannot be reached, or refuses us."""
        self.cast(_NOBODY, Message(method="reach"))

    def declare_reply_queue(self) -> None:
        """The library does it with the first call, which may wait for the broker for ever.

        :raises errors.BusUnavailable: the broker went away meanwhile.
        """
        try:
            self._driver.make_reply_queue()
        except _BROKER_ERRORS as exc:
            raise _unavailable(exc) from None

    def _prepared(self, address: Address, message: Message, timeout_s: float | None) -> Any:
        return self._client.prepare(
            topic=address.topic,
            server=address.server or None,
            version=message.version,
            timeout=timeout_s,
            retry=self._settings.send_retries,
        )

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise errors.BusUnavailable(detail="closed")


def _prefetch(workers: int) -> int:
    """How many messages may be on their way to a server: those that it must leave to others when it is full.

    One at a time, each waits for the acknowledgement of the one before it: 40 requests a second on a busy machine.
    """
    return min(8, max(1, workers // 4))


def _unavailable(exc: Exception) -> errors.BusUnavailable:
    return errors.BusUnavailable(detail=f"{type(exc).__name__}: {exc}".strip().splitlines()[0])


class _ReplyQueue:
    """The queue this process gets its replies in, declared beside the callers.

    The library declares it inside the first call, without any bound while the broker is away.
    """

    def __init__(self, runtime: Runtime, bus: RabbitBus) -> None:
        self._runtime = runtime
        self._bus = bus
        self._gate: Lock = runtime.lock()
        self._ready: Event = runtime.event()
        self._asked = False
        self._trouble = "not connected yet"

    def ensure(self, patience_s: float) -> None:
        """:raises errors.BusUnavailable: there is no reply queue after *patience_s*."""
        if self._ready.is_set():
            return
        with self._gate:
            if not self._asked:
                self._asked = True
                self._runtime.spawn("bus-replies", self._declare)
        if not self._ready.wait(min(patience_s, 5.0)):
            raise errors.BusUnavailable(detail=self._trouble)

    def _declare(self) -> None:
        try:
            retry.until_available(self._runtime, "message bus", self._try, stopped=self._bus.is_closed)
        except errors.BusUnavailable:
            return  # closed
        self._ready.set()

    def _try(self) -> None:
        try:
            self._bus.reach()
            self._bus.declare_reply_queue()
        except errors.BusUnavailable as exc:
            self._trouble = str(exc.kwargs["detail"])
            raise


class _Door:
    """oslo.messaging's dispatcher: what of an incoming message reaches ours, and what of it leaves."""

    def __init__(self, address: Address, dispatcher: Dispatcher) -> None:
        self._address = address
        self._dispatcher = dispatcher

    def dispatch(self, incoming: Any) -> Any:
        """:raises ExpectedException: around the typed error, so that the library adds no traceback of its own."""
        try:
            message = _message(incoming)
            self._check_sender(rabbit.sender_of(incoming), message)
            return wire.run(self._dispatcher, self._address, message)
        except errors.DroverError:
            raise rpc_dispatcher.ExpectedException from None

    def _check_sender(self, sender: str, message: Message) -> None:
        try:
            check_sender(sender, self._address, message)
        except errors.SenderRefused as exc:
            LOG.warning("message refused", topic=self._address, error=exc.message)
            raise


def _message(incoming: Any) -> Message:
    """:raises errors.BadRequest: no request. :raises errors.MessageTooLarge: over the limit."""
    body = incoming.message
    known = {name: body[name] for name in ("method", "args", "version") if body.get(name) is not None}
    message = codec.from_plain({**known, "context": incoming.ctxt}, Message, what="message")
    wire.pack_request(message)
    return message


class _Slots:
    """Workers of one server. :meth:`run` waits for a free one, which holds up the reading from the broker."""

    def __init__(self, runtime: Runtime, name: str, workers: int) -> None:
        self._taken: Queue[object] = runtime.queue(max_size=workers)
        self._pool: Pool = runtime.pool(f"rpc-{name}", workers)
        self._gate: Lock = runtime.lock()
        self._accepted = 0  # acknowledged and not done, the one that waits for a worker included
        self._idle: Event = runtime.event()
        self._idle.set()

    def run(self, work: Callable[[], None]) -> None:
        self._count(1)
        self._taken.put(None)
        self._pool.submit(lambda: self._work(work))

    def wait_idle(self, timeout_s: float) -> bool:
        return self._idle.wait(timeout_s)

    def close(self) -> None:
        self._pool.close()

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._taken.get()
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._gate:
            self._accepted += change
            if self._accepted:
                self._idle.clear()
            else:
                self._idle.set()


class _BoundedRPCServer(rpc_server.RPCServer):  # type: ignore[misc]
    """Without it the library acknowledges and queues in memory whatever comes: lost with the process.

    Overriding more than this deadlocks: ``start``, ``stop`` and ``wait`` are ordered tasks and do not nest.
    """

    def __init__(self, transport: Any, target: Any, door: _Door, slots: _Slots) -> None:
        super().__init__(transport, target, door)
        self._slots = slots

    def _on_incoming(self, incoming: Any) -> None:
        self._slots.run(lambda: self._process_incoming(incoming))

    def finish(self) -> None:
        """Close the connection, after :meth:`stop`.

        Closing reads what is on its way, and the library acknowledges a request among it but runs it no more.
        """
        self.wait()
        for incoming in self.listener._poll_style_listener.incoming:  # noqa: SLF001
            self._process_incoming([incoming])


class _RabbitServer:
    """A running server. The library's own start and stop wait for the broker; ours have bounds."""

    def __init__(self, runtime: Runtime, server: _BoundedRPCServer, slots: _Slots, drain_timeout_s: float) -> None:
        self._runtime = runtime
        self._server = server
        self._slots = slots
        self._drain_timeout_s = drain_timeout_s
        server.start()

    def stop(self) -> None:
        draining = self._runtime.spawn("rpc-drain", self._drain)
        if draining.join(_LISTENER_S):
            return
        # Either requests still run, or the library waits for a broker that is away, from which nothing comes in.
        if not self._slots.wait_idle(self._drain_timeout_s):
            LOG.warning("requests still run after the drain", drain_timeout_s=self._drain_timeout_s)
        elif not draining.join(1.0):
            LOG.warning("stopped without the broker")

    def _drain(self) -> None:
        self._server.stop()
        self._slots.close()
        self._server.finish()

"""The command line's way to ``drover standalone``: requests over a UNIX socket, handed to the bus inside.

A connection carries one request and its answer.  Who may open the socket is the process's own user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drover import errors, log
from drover.objects import codec
from drover.rpc import wire
from drover.rpc.bus import MAX_MESSAGE_BYTES, Address, Bus, Dispatcher, Message, Server
from drover.runtime import Runtime, Task
from drover.runtime.unix_socket import Connection, Listener, connect

__all__ = ["UnixBus", "UnixBusServer"]

LOG = log.get(__name__)

#: a message and what stands around it
_FRAME_BYTES = MAX_MESSAGE_BYTES + 4096
_CONNECT_S = 5.0
#: seconds the answer may come after the bus inside gave up: so its words arrive, not our guess
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    topic: str
    server: str
    message: Message
    timeout_s: float | None  # None: a cast


codec.prepare(_Request)


class UnixBus:
    """The client's :class:`drover.rpc.bus.Bus`; it offers no servers."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        return self._exchange(address, message, timeout_s)

    def cast(self, address: Address, message: Message) -> None:
        self._exchange(address, message, None)

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:  # noqa: ARG002
        """:raises errors.BadInput: always."""
        raise errors.BadInput(reason=f"no service {address} can run over {self._path}: it is for clients")

    def close(self) -> None:
        """Nothing is held open between requests."""

    def _exchange(self, address: Address, message: Message, timeout_s: float | None) -> Any:
        wire.pack_request(message)
        frame = codec.to_json(
            _Request(topic=address.topic, server=address.server, message=message, timeout_s=timeout_s)
        ).encode()
        try:
            with connect(self._path, timeout_s=_CONNECT_S) as connection:
                connection.send(frame)
                answer = connection.receive(limit_bytes=_FRAME_BYTES, timeout_s=(timeout_s or _CONNECT_S) + _GRACE_S)
        except TimeoutError:
            raise errors.CallTimeout(topic=str(address), method=message.method, timeout_s=timeout_s) from None
        except OSError as exc:
            raise errors.BusUnavailable(detail=f"{self._path}: {exc}") from None
        return wire.unpack_result(answer)


class UnixBusServer:
    """Listens at *path* and forwards to *bus*.

    :param workers: requests at once, long polls included; more wait.
    """

    def __init__(self, runtime: Runtime, bus: Bus, path: str, *, workers: int = 64) -> None:
        self._runtime = runtime
        self._bus = bus
        self._path = path
        self._pool = runtime.pool("unix-bus", workers)
        self._listener: Listener | None = None
        self._accepting: Task | None = None

    def start(self) -> None:
        """:raises errors.BusUnavailable: the socket cannot be made, or another process listens there."""
        try:
            listener = Listener(self._path)
        except OSError as exc:
            raise errors.BusUnavailable(detail=f"{self._path}: {exc}") from None
        self._listener = listener
        self._accepting = self._runtime.spawn("unix-accept", lambda: self._accept(listener))
        LOG.info("listening", path=self._path)

    def stop(self) -> None:
        """Take no more requests and finish those that run."""
        if self._listener is not None:
            self._listener.close()
        if self._accepting is not None:
            self._accepting.join()
        self._pool.close()

    def _accept(self, listener: Listener) -> None:
        while (connection := listener.accept()) is not None:
            self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        self._pool.submit(lambda: self._serve(connection))

    def _serve(self, connection: Connection) -> None:
        with connection:
            try:
                frame = connection.receive(limit_bytes=_FRAME_BYTES, timeout_s=_CONNECT_S)
                connection.send(self._answer(frame))
            except OSError as exc:
                LOG.info("client gone", path=self._path, error=exc)

    def _answer(self, frame: bytes) -> bytes:
        try:
            request = codec.from_json(frame, _Request, what="message")
            return wire.measured({"result": self._forward(request)}, request.message.method)
        except errors.DroverError as exc:
            return wire.pack_error(exc)

    def _forward(self, request: _Request) -> Any:
        address = Address(request.topic, request.server)
        if request.timeout_s is None:
            return self._bus.cast(address, request.message)
        return self._bus.call(address, request.message, request.timeout_s)

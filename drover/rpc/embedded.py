"""The in-process bus: RabbitMQ's behaviour in queues of this process, under any Runtime.

What a service may rely on is the same as with a broker: messages are JSON and bounded, a server takes at most
``workers`` at once and leaves the rest in the queue, a call nobody answers times out, a cast to a queue that
was never declared is lost.  There is no thread or timer of its own: a message is handed on by whoever sends it
or by the worker that becomes free, so it works under the simulation's Runtime too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drover import errors
from drover.rpc import wire
from drover.rpc.bus import Address, Dispatcher, Message, Server
from drover.rpc.fault import FaultPolicy, NoFaults, Parcel, ParcelKind
from drover.runtime import Event, Runtime

__all__ = ["EmbeddedBus"]

#: As the broker's policy ``max-length``: beyond it the oldest message of a queue is dropped.
_QUEUE_LENGTH = 10_000


class EmbeddedBus:
    """Implements :class:`drover.rpc.bus.Bus` for services that share one process.

    One bus may serve a whole process; :meth:`attach` makes a connection of its own for each of several simulated
    processes, so that the fault policy can tell them apart and one of them can die.
    """

    def __init__(
        self,
        runtime: Runtime,
        faults: FaultPolicy | None = None,
        *,
        name: str = "local",
        exchange: Exchange | None = None,
    ) -> None:
        self._runtime = runtime
        self._exchange = exchange or Exchange(runtime, faults or NoFaults())
        self._name = name
        self._servers: list[_Server] = []
        self._closed = False

    def attach(self, name: str, runtime: Runtime) -> EmbeddedBus:
        """Another connection to the same queues. Its servers' workers are tasks of *runtime*."""
        return EmbeddedBus(runtime, name=name, exchange=self._exchange)

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        pending = _Pending(caller=self._name, answered=self._runtime.event())
        self._send(ParcelKind.REQUEST, address, message, pending, timeout_s)
        if not pending.answered.wait(timeout_s):
            raise errors.CallTimeout(topic=str(address), method=message.method, timeout_s=timeout_s)
        return wire.unpack_result(pending.answer)

    def cast(self, address: Address, message: Message) -> None:
        self._send(ParcelKind.CAST, address, message, None, None)

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:
        self._check_open()
        server = _Server(address, workers, _Binding(self._runtime, self._exchange, dispatcher, self._reply))
        self._servers.append(server)
        self._exchange.add(server)
        return server

    def close(self) -> None:
        self._closed = True
        for server in self._servers:
            server.stop()

    def sever(self) -> None:
        """As the death of the process would: its servers are gone at once, without a drain."""
        self._closed = True
        for server in self._servers:
            self._exchange.remove(server)

    def _check_open(self) -> None:
        if self._closed:
            raise errors.BusUnavailable(detail="closed")

    def _send(
        self, kind: ParcelKind, address: Address, message: Message, pending: _Pending | None, ttl_s: float | None
    ) -> None:
        self._check_open()
        expires_at = None if ttl_s is None else self._exchange.now_s() + ttl_s
        delivery = _Delivery(address, wire.pack_request(message), pending, expires_at)
        parcel = Parcel(kind=kind, sender=self._name, receiver=str(address), method=message.method)
        self._exchange.carry(parcel, lambda: self._exchange.publish(delivery))

    def _reply(self, pending: _Pending, method: str, answer: bytes) -> None:
        parcel = Parcel(kind=ParcelKind.REPLY, sender=self._name, receiver=pending.caller, method=method)
        try:
            self._exchange.carry(parcel, lambda: pending.put(answer))
        except errors.BusUnavailable:
            return  # the caller's timeout tells it


@dataclass(slots=True)
class _Pending:
    """A caller that waits."""

    caller: str
    answered: Event
    answer: bytes = b""

    def put(self, answer: bytes) -> None:
        """The first answer counts; a second one comes of a duplicated message."""
        if not self.answered.is_set():
            self.answer = answer
            self.answered.set()


@dataclass(frozen=True, slots=True)
class _Delivery:
    address: Address
    text: bytes
    pending: _Pending | None
    expires_at: float | None  # a call is not begun after its caller gave up


@dataclass(frozen=True, slots=True)
class _Binding:
    """What a server works with."""

    runtime: Runtime
    exchange: Exchange
    dispatcher: Dispatcher
    reply: Callable[[_Pending, str, bytes], None]


class _Server:
    """Takes messages of its topic, and of its topic and name, while it has a free worker."""

    def __init__(self, address: Address, workers: int, binding: _Binding) -> None:
        self._address = address
        self._binding = binding
        self._pool = binding.runtime.pool(f"rpc-{address}", workers)
        self.queues = [str(address), address.topic] if address.server else [address.topic]
        # what follows belongs to the exchange's lock
        self.free = workers
        self.busy = 0
        self.taking = True
        self.drained = binding.runtime.event()

    def stop(self) -> None:
        self._binding.exchange.remove(self)
        self.drained.wait()
        self._pool.close()

    def begin(self, delivery: _Delivery) -> None:
        self._pool.submit(lambda: self._work(delivery))

    def _work(self, delivery: _Delivery) -> None:
        try:
            message = wire.unpack_request(delivery.text)
            answer = wire.pack_result(self._binding.dispatcher, self._address, message)
            if delivery.pending is not None:
                self._binding.reply(delivery.pending, message.method, answer)
        finally:
            self._binding.exchange.finished(self)


class _Queue:
    def __init__(self) -> None:
        self.deliveries: deque[tuple[int, _Delivery]] = deque(maxlen=_QUEUE_LENGTH)
        self.servers: deque[_Server] = deque()


class Exchange:
    """Queues and who consumes them. Nothing waits while the lock is held."""

    def __init__(self, runtime: Runtime, faults: FaultPolicy) -> None:
        self._runtime = runtime
        self._faults = faults
        self._gate = runtime.lock()
        self._queues: dict[str, _Queue] = {}
        self._arrivals = 0

    def now_s(self) -> float:
        """The broker's clock: a sender's may stand still."""
        return self._runtime.clock.monotonic()

    def carry(self, parcel: Parcel, deliver: Callable[[], None]) -> None:
        """Deliver as the fault policy says."""
        fault = self._faults.judge(parcel)

        def late() -> None:
            self._runtime.sleep(fault.delay_s)
            deliver()

        for _ in range(fault.copies):
            if fault.delay_s > 0:
                self._runtime.spawn("bus-delay", late)
            else:
                deliver()

    def publish(self, delivery: _Delivery) -> None:
        with self._gate:
            queue = self._queues.get(str(delivery.address))
            if queue is None:
                return
            self._arrivals += 1
            queue.deliveries.append((self._arrivals, delivery))
            server = self._free_server(queue)
            following = self._take(server) if server else None
        if server and following:
            server.begin(following)

    def add(self, server: _Server) -> None:
        with self._gate:
            for name in server.queues:
                self._queues.setdefault(name, _Queue()).servers.append(server)
            taken = list(iter(lambda: self._take(server), None))
        for delivery in taken:
            server.begin(delivery)

    def remove(self, server: _Server) -> None:
        with self._gate:
            if server.taking:
                server.taking = False
                for name in server.queues:
                    self._queues[name].servers.remove(server)
            if not server.busy:
                server.drained.set()

    def finished(self, server: _Server) -> None:
        with self._gate:
            server.free += 1
            server.busy -= 1
            following = self._take(server)
            if not server.taking and not server.busy:
                server.drained.set()
        if following:
            server.begin(following)

    def _free_server(self, queue: _Queue) -> _Server | None:
        """The next in turn that has a free worker."""
        for _ in range(len(queue.servers)):
            queue.servers.rotate(-1)
            if queue.servers[-1].free:
                return queue.servers[-1]
        return None

    def _take(self, server: _Server) -> _Delivery | None:
        """The oldest live message for *server*, if it may begin one."""
        now = self.now_s()
        while server.taking and server.free:
            filled = [queue for name in server.queues if (queue := self._queues[name]).deliveries]
            if not filled:
                return None
            _, delivery = min(filled, key=lambda queue: queue.deliveries[0][0]).deliveries.popleft()
            if delivery.expires_at is None or delivery.expires_at > now:
                server.free -= 1
                server.busy += 1
                return delivery
        return None

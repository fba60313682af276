"""The port every bus implements: calls that wait, casts that do not, servers with a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from drover.objects import codec

__all__ = ["MAX_MESSAGE_BYTES", "Address", "Bus", "Dispatcher", "Inspectable", "Message", "QueueState", "Server"]

#: Larger messages are refused at both ends; RabbitMQ itself would take 128 MiB and the server's memory with it.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """A topic, and the one server of it that is meant (empty: any)."""

    topic: str
    server: str = ""

    def __str__(self) -> str:
        return f"{self.topic}.{self.server}" if self.server else self.topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One request in plain JSON data. ``context`` is a :class:`drover.rpc.context.RequestContext` as a dict."""

    method: str
    args: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    version: str = "1.0"


codec.prepare(Message)


class Dispatcher(Protocol):
    """The server's side: takes a message apart, runs the method, gives plain JSON back."""

    @property
    def methods(self) -> frozenset[str]:
        """Names that may be called; nothing else can be reached."""

    def dispatch(self, message: Message) -> Any:
        """Run it. Raises :class:`drover.errors.DroverError` only."""


class Server(Protocol):
    """A running server: at most ``workers`` messages at once, the rest waits in the broker."""

    def stop(self) -> None:
        """Take no more messages, finish those that run (drain), then return."""


class Bus(Protocol):
    """Raises :class:`drover.errors.Unavailable` kinds and whatever typed error the far side raised."""

    def call(self, address: Address, message: Message, timeout_s: float = 10.0) -> Any:
        """Send and wait for the plain JSON result.

        :raises drover.errors.BusUnavailable: not sent as far as is known, after a finite number of tries.
        :raises drover.errors.CallTimeout: no answer in time; it may have been done or may yet be.
        :raises drover.errors.MessageTooLarge: over :data:`MAX_MESSAGE_BYTES`; not sent.
        """

    def cast(self, address: Address, message: Message) -> None:
        """Send and forget: it may be lost or arrive late; the truth is in the database.

        :raises drover.errors.BusUnavailable: not sent, after a finite number of tries.
        """

    def serve(self, address: Address, dispatcher: Dispatcher, workers: int) -> Server:
        """Start a server. Waits for the broker as long as it takes, logging, unless closed meanwhile."""

    def close(self) -> None:
        """Stop every server and let connections go."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as the broker counts it; one that is not there has neither."""

    messages: int  # that wait
    readers: int


@runtime_checkable
class Inspectable(Protocol):
    """A bus whose broker tells of its queues."""

    def inspect(self, addresses: Sequence[Address]) -> dict[Address, QueueState]:
        """:raises drover.errors.BusUnavailable: the broker is away."""

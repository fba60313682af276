"""From a Protocol of typed methods to a client and a dispatcher.

A contract's methods take ``ctx`` first, then values; the client turns them into a message of plain JSON, the
dispatcher checks the message against the same annotations and calls the implementation.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from drover import errors
from drover.objects import codec
from drover.rpc.bus import Address, Bus, Message
from drover.rpc.context import RequestContext

__all__ = ["Contract", "Endpoint", "call", "cast_", "client"]

P = TypeVar("P")
F = TypeVar("F", bound=Callable[..., Any])


def call(method: F) -> F:
    """Mark a contract's method: the client waits for its result."""
    method.__drover_rpc__ = "call"  # type: ignore[attr-defined]
    return method


def cast_(method: F) -> F:
    """Mark a contract's method: the client sends and forgets."""
    method.__drover_rpc__ = "cast"  # type: ignore[attr-defined]
    return method


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    name: str
    kind: str
    arguments: tuple[tuple[str, Any, Any], ...]  # (name, annotation, default or inspect.Parameter.empty)
    returns: Any


class Contract(Generic[P]):
    """A service's whole surface: topic, version, and the methods of *protocol* that are marked."""

    def __init__(self, topic: str, version: str, protocol: type[P]) -> None:
        self.topic = topic
        self.version = version
        self.protocol = protocol
        self.methods = {method.name: method for method in _methods(protocol)}


def _methods(protocol: type) -> typing.Iterator[_Method]:
    for name, function in inspect.getmembers(protocol, inspect.isfunction):
        kind = getattr(function, "__drover_rpc__", None)
        if kind is None:
            continue
        hints = typing.get_type_hints(function)
        parameters = list(inspect.signature(function).parameters.values())[2:]  # without self, ctx
        yield _Method(
            name=name,
            kind=kind,
            arguments=tuple((p.name, hints[p.name], p.default) for p in parameters),
            returns=hints.get("return", Any),
        )


def client(contract: Contract[P], bus: Bus, *, server: str = "", timeout_s: float = 10.0) -> P:
    """A typed client: has the contract's methods, each of which sends a message over *bus*."""
    return cast("P", _Client(contract, bus, Address(contract.topic, server), timeout_s))


class _Client:
    def __init__(self, contract: Contract[Any], bus: Bus, address: Address, timeout_s: float) -> None:
        self._contract = contract
        self._bus = bus
        self._address = address
        self._timeout_s = timeout_s

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._contract.methods.get(name)
        if method is None:
            raise AttributeError(name)

        def send(ctx: RequestContext, *values: Any, **named: Any) -> Any:
            named.update(zip((argument for argument, _, _ in method.arguments), values, strict=False))
            message = Message(
                method=name,
                args={key: codec.to_plain(value) for key, value in named.items()},
                context=codec.to_plain(ctx),
                version=self._contract.version,
            )
            if method.kind == "cast":
                self._bus.cast(self._address, message)
                return None
            # A long poll names its own patience; the call must outlast it.
            patience = float(named.get("timeout_s") or 0.0) + self._timeout_s
            reply = self._bus.call(self._address, message, patience)
            return codec.from_plain(reply, method.returns, what=f"{name} reply")

        self.__dict__[name] = send
        return send


class Endpoint:
    """A :class:`drover.rpc.bus.Dispatcher` over an implementation of a contract."""

    def __init__(self, contract: Contract[P], implementation: P) -> None:
        self._contract = contract
        self._implementation = implementation
        self.methods = frozenset(contract.methods)

    def dispatch(self, message: Message) -> Any:
        """Check, convert, run, convert back.

        :raises errors.UnknownMethod: not of this contract.
        :raises errors.BadRequest: wrong types, missing or unknown arguments, no context.
        """
        method = self._contract.methods.get(message.method)
        if method is None:
            raise errors.UnknownMethod(topic=self._contract.topic, method=message.method)
        ctx = codec.from_plain(message.context, RequestContext, what=message.method)
        arguments = self._arguments(method, message.args)
        result = getattr(self._implementation, method.name)(ctx, **arguments)
        return None if method.kind == "cast" else codec.to_plain(result)

    def _arguments(self, method: _Method, given: dict[str, Any]) -> dict[str, Any]:
        known = {name for name, _, _ in method.arguments}
        if unknown := sorted(set(given) - known):
            raise errors.BadRequest(method=method.name, reason=f"unknown arguments {', '.join(unknown)}")
        converted: dict[str, Any] = {}
        for name, annotation, default in method.arguments:
            if name not in given:
                if default is inspect.Parameter.empty:
                    raise errors.BadRequest(method=method.name, reason=f"missing argument {name}")
                continue
            try:
                converted[name] = msgspec.convert(given[name], annotation)
            except msgspec.ValidationError as exc:
                raise errors.BadRequest(method=method.name, reason=f"argument {name}: {exc}") from None
        return converted

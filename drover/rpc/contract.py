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
    signature: inspect.Signature  # ctx first
    arguments: tuple[tuple[str, Any, Any], ...]  # (name, annotation, default or inspect.Parameter.empty)
    returns: Any


class Contract(Generic[P]):
    """A service's whole surface: topic, version, and the methods of *protocol* that are marked."""

    def __init__(self, topic: str, version: str, protocol: type[P]) -> None:
        self.topic = topic
        self.version = version
        self.protocol = protocol
        self.methods = {method.name: method for method in _methods(protocol)}
        for method in self.methods.values():
            codec.prepare(method.returns, *(annotation for _, annotation, _ in method.arguments))


def _methods(protocol: type) -> typing.Iterator[_Method]:
    for name, function in inspect.getmembers(protocol, inspect.isfunction):
        kind = getattr(function, "__drover_rpc__", None)
        if kind is None:
            continue
        hints = typing.get_type_hints(function)
        _, *parameters = inspect.signature(function).parameters.values()  # without self
        signature = inspect.Signature(parameters)
        if reserved := {"ctxt", "method"} & set(signature.parameters):
            raise TypeError(f"{name}: oslo.messaging takes the argument names {reserved} itself")
        yield _Method(
            name=name,
            kind=kind,
            signature=signature,
            arguments=tuple((p.name, hints[p.name], p.default) for p in parameters[1:]),
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
            bound = method.signature.bind(ctx, *values, **named)
            given = list(bound.arguments.items())[1:]
            message = Message(
                method=name,
                args={key: codec.to_plain(value) for key, value in given},
                context=codec.to_plain(ctx),
                version=self._contract.version,
            )
            if method.kind == "cast":
                self._bus.cast(self._address, message)
                return None
            bound.apply_defaults()
            # A long poll names its own patience; the call must outlast it.
            patience_s = self._timeout_s + float(bound.arguments.get("timeout_s", 0.0))
            reply = self._bus.call(self._address, message, patience_s)
            return codec.from_plain(reply, method.returns, what=f"{name} reply")

        self.__dict__[name] = send
        return send


def _serves(ours: str, theirs: str) -> bool:
    """Whether a service of version *ours* understands a message of version *theirs*."""
    try:
        (our_major, our_minor), (major, minor) = (map(int, version.split(".")) for version in (ours, theirs))
    except ValueError:
        return False
    return major == our_major and minor <= our_minor


class Endpoint:
    """A :class:`drover.rpc.bus.Dispatcher` over an implementation of a contract."""

    def __init__(self, contract: Contract[P], implementation: P) -> None:
        self._contract = contract
        self._implementation = implementation
        self.methods = frozenset(contract.methods)

    def dispatch(self, message: Message) -> Any:
        """Check, convert, run, convert back.

        :raises errors.UnknownMethod: not of this contract.
        :raises errors.UnsupportedVersion: of another major version, or newer than this release.
        :raises errors.BadRequest: wrong types, missing or unknown arguments, no context.
        """
        method = self._contract.methods.get(message.method)
        if method is None:
            raise errors.UnknownMethod(topic=self._contract.topic, method=message.method)
        if not _serves(self._contract.version, message.version):
            raise errors.UnsupportedVersion(
                topic=self._contract.topic, supported=self._contract.version, version=message.version
            )
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
                converted[name] = default
                continue
            try:
                converted[name] = msgspec.convert(given[name], annotation, str_keys=True)
            except msgspec.ValidationError as exc:
                raise errors.BadRequest(method=method.name, reason=f"argument {name}: {exc}") from None
        return converted

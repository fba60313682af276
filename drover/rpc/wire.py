"""What every bus does with a message: JSON of a bounded size, and requests run so that only typed errors come out."""

from __future__ import annotations

from typing import Any

import msgspec

from drover import errors, log
from drover.objects import codec
from drover.rpc.bus import MAX_MESSAGE_BYTES, Address, Dispatcher, Message

__all__ = ["measured", "pack_error", "pack_request", "pack_result", "run", "unpack_request", "unpack_result"]

LOG = log.get(__name__)


def measured(data: Any, method: str) -> bytes:
    """*data* as JSON.

    :raises errors.BadRequest: it holds what JSON cannot.
    :raises errors.MessageTooLarge: over :data:`MAX_MESSAGE_BYTES`.
    """
    try:
        text = codec.to_json(data).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise errors.BadRequest(method=method, reason=f"no JSON: {exc}") from None
    if len(text) > MAX_MESSAGE_BYTES:
        raise errors.MessageTooLarge(size_bytes=len(text), limit_bytes=MAX_MESSAGE_BYTES)
    return text


def pack_request(message: Message) -> bytes:
    """:raises errors.BadRequest: no JSON. :raises errors.MessageTooLarge: over the limit."""
    return measured(message, message.method)


def unpack_request(text: bytes) -> Message:
    """:raises errors.BadRequest: no message."""
    return codec.from_json(text, Message, what="message")


def run(dispatcher: Dispatcher, address: Address, message: Message) -> Any:
    """Run a request on the server's side and give its plain result.

    :raises errors.DroverError: only; what nobody expected is logged once with its traceback.
    """
    try:
        return _dispatch(dispatcher, address, message)
    except errors.DroverError as exc:
        LOG.info(
            "request refused",
            method=message.method,
            code=exc.code,
            error=exc.message,
            request_id=message.context.get("request_id", ""),
        )
        raise
    except Exception as exc:
        LOG.exception("request failed", method=message.method, request_id=message.context.get("request_id", ""))
        raise errors.DroverError(detail=f"{type(exc).__name__}: {exc}") from None


def _dispatch(dispatcher: Dispatcher, address: Address, message: Message) -> Any:
    if message.method not in dispatcher.methods:
        raise errors.UnknownMethod(topic=address.topic, method=message.method)
    result = dispatcher.dispatch(message)
    measured(result, message.method)
    return result


def pack_result(dispatcher: Dispatcher, address: Address, message: Message) -> bytes:
    """Run a request and pack what came of it, result or error."""
    try:
        return measured({"result": run(dispatcher, address, message)}, message.method)
    except errors.DroverError as exc:
        return pack_error(exc)


def pack_error(error: errors.DroverError) -> bytes:
    """An answer that is an error; parameters that are no JSON are left out, the words stay."""
    try:
        return codec.to_json({"error": error.to_dict()}).encode()
    except (TypeError, ValueError):
        return codec.to_json({"error": errors.DroverError(detail=error.message).to_dict()}).encode()


def unpack_result(text: bytes) -> Any:
    """The result, or the error raised here anew.

    :raises errors.DroverError: what the far side answered.
    """
    answer: dict[str, Any] = msgspec.json.decode(text)
    if "error" in answer:
        raise errors.from_dict(answer["error"])
    return answer["result"]

"""Values to plain JSON data and back, checked against their annotations (msgspec does the work)."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from drover import errors

__all__ = ["from_json", "from_plain", "prepare", "to_json", "to_plain"]

T = TypeVar("T")


def prepare(*kinds: Any) -> None:
    """Look at *kinds* once, before threads do: called by the modules that define them, while they are imported.

    msgspec shows a dataclass to other threads before it has seen all of its fields; two threads that decode one
    for the first time at once crash the process (seen with 0.22: a conductor died of it on its first requests).
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)


def to_plain(value: Any) -> Any:
    """Dicts, lists, strings, numbers, booleans and None; datetimes become ISO 8601 text, keys text as in JSON."""
    return msgspec.to_builtins(value, str_keys=True)


def from_plain(data: Any, kind: type[T], *, what: str = "value") -> T:
    """Build *kind* from :func:`to_plain` data; no coercion between JSON types.

    :raises errors.BadRequest: the data does not fit the annotations; the reason names the field.
    """
    try:
        return msgspec.convert(data, kind, str_keys=True)
    except msgspec.ValidationError as exc:
        raise errors.BadRequest(method=what, reason=str(exc)) from None


def to_json(value: Any) -> str:
    """Compact JSON text."""
    return msgspec.json.encode(value).decode()


def from_json(text: str | bytes, kind: type[T], *, what: str = "value") -> T:
    """Build *kind* from JSON text.

    :raises errors.BadRequest: no JSON, or it does not fit the annotations.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise errors.BadRequest(method=what, reason=str(exc)) from None

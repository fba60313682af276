"""Values to plain JSON data and back, checked against their annotations (msgspec does the work)."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from drover import errors

__all__ = ["from_json", "from_plain", "to_json", "to_plain"]

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dicts, lists, strings, numbers, booleans and None; datetimes become ISO 8601 text."""
    return msgspec.to_builtins(value)


def from_plain(data: Any, kind: type[T], *, what: str = "value") -> T:
    """Build *kind* from :func:`to_plain` data; no coercion between JSON types.

    :raises errors.BadRequest: the data does not fit the annotations; the reason names the field.
    """
    try:
        return msgspec.convert(data, kind)
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

"""One key, one effect: what a repeated request is answered with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from drover import errors
from drover.db.notice import Remembered
from drover.objects import codec

__all__ = ["digest_of", "recalled"]


def digest_of(parameters: Any) -> str:
    """SHA-256 over the JSON of a request's parameters."""
    return hashlib.sha256(codec.to_json(parameters).encode()).hexdigest()


def recalled(known: Mapping[tuple[str, str], Remembered], key: tuple[str, str], digest: str) -> str | None:
    """The reply that (project, key) got before, as JSON; None when it is new, or no key was given.

    :raises errors.IdempotencyMismatch: the key was used with other parameters.
    """
    before = known.get(key) if key[1] else None
    if before is None:
        return None
    if before.digest != digest:
        raise errors.IdempotencyMismatch(key=key[1])
    return before.reply

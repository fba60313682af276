"""How many rows one answer may have."""

from __future__ import annotations

from drover import errors

__all__ = ["check_limit"]

MAX_PAGE = 1000


def check_limit(limit: int, *, least: int = 0) -> None:
    """:raises errors.BadInput: *limit* is no length of a page."""
    if not least <= limit <= MAX_PAGE:
        raise errors.BadInput(reason=f"a page has {least} to {MAX_PAGE} rows, not {limit}")

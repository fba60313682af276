"""Named places where a test may stop the agent: one call, which does nothing in production."""

from __future__ import annotations

from typing import Protocol

__all__ = ["NoPoints", "Points"]


class Points(Protocol):
    def hit(self, name: str) -> None:
        """The agent is at *name*. May raise a BaseException that is no Exception: the incarnation is dead."""


class NoPoints:
    """Production's."""

    def hit(self, name: str) -> None:
        """Go on."""

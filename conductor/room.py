"""Whether room may have come since somebody last looked."""

from __future__ import annotations

__all__ = ["Room"]


class Room:
    """One conductor's note to itself, which costs those who free something nothing. Thread-safe.

    A note that dies with its conductor, or that another conductor should have had, costs those who wait a slow look.
    """

    def __init__(self) -> None:
        self._noted = False

    def came(self) -> None:
        """Something was committed by which a host may take what it could not take before."""
        self._noted = True

    def take(self) -> bool:
        """Whether anything was noted; look at the database after this, not before."""
        noted, self._noted = self._noted, False
        return noted

"""A promise that was seen broken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["Violation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """(what, subject) names it: the same one seen again is no second one."""

    what: str  # the promise, in words: "it runs more than once"
    subject: str  # "instance 5b0e…"
    evidence: str
    at: datetime | None = None

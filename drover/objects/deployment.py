"""Who a fleet is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Deployment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One per database. The id is stamped into every domain; the key makes the depot's tokens."""

    id: str
    depot_key: str = field(repr=False)  # 64 hex digits
    created_at: datetime

"""Who asks, and under which request: travels with every message."""

from __future__ import annotations

from dataclasses import dataclass

from drover.objects import codec

__all__ = ["RequestContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Identity of a request. Whoever reaches the broker is trusted to state it (see docs/architecture.md)."""

    request_id: str
    project_id: str = "default"
    user_id: str = "admin"


codec.prepare(RequestContext)

"""Options of the health endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["HealthSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    GROUP: ClassVar[str] = "health"

    listen: str = setting(
        "",
        "IPv4 address where each service answers GET /healthz; empty: nowhere. 127.0.0.1, unless something elsewhere "
        "asks: anybody who reaches it may ask, and is told no secrets.",
    )
    conductor_port: int = setting(8791, "Port of a conductor; 0: any free one.", minimum=0, maximum=65535)
    scheduler_port: int = setting(8792, "Port of a scheduler; 0: any free one.", minimum=0, maximum=65535)
    agent_port: int = setting(8793, "Port of an agent; 0: any free one.", minimum=0, maximum=65535)
    interval_s: float = setting(
        5.0, "Seconds between looks at each part. A part that does not answer for three is unhealthy.", minimum=0.1
    )

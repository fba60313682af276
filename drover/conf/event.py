"""Options of the event stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["EventSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSettings:
    GROUP: ClassVar[str] = "events"

    enabled: bool = setting(
        True,
        "Tell what changes on the exchange drover.events. A conductor spends about 0.2 ms of CPU on each event; switch "
        "it off where nobody listens and every ms counts.",
    )
    queue_length: int = setting(
        10_000,
        "Events that a conductor keeps while the broker is away; further ones are dropped, which readers are told.",
        minimum=1,
        maximum=1_000_000,
    )

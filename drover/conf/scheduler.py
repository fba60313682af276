"""Options of the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["SchedulerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    GROUP: ClassVar[str] = "scheduler"

    name: str = setting("", "Name of this scheduler, unique in the fleet; empty: host name and process id.")
    workers: int = setting(2, "Messages taken at once; placing itself is one task.", minimum=1, maximum=16)
    batch: int = setting(256, "Most operations placed in one pass and one transaction.", minimum=1, maximum=2000)
    alternates: int = setting(
        3, "Further hosts a request may take when its first choice has just filled up.", minimum=0, maximum=20
    )
    explained_hosts: int = setting(
        200,
        "Hosts whose refusal a decision spells out when no host is left (10 at most when there is one).",
        minimum=0,
        maximum=10000,
    )
    filters: tuple[str, ...] = setting(
        ("up_enabled", "excluded_hosts", "virt_type", "architecture", "vcpus", "memory", "disk"),
        "Filters in order, by entry point name (group drover.scheduler.filters). Leave one out to switch it off; "
        "up_enabled, vcpus, memory and disk must stay.",
    )
    weighers: tuple[str, ...] = setting(
        ("free_memory=1.0", "free_vcpus=1.0"),
        "Weighers as name=multiplier (group drover.scheduler.weighers). Positive spreads instances over hosts, "
        "negative packs them.",
    )

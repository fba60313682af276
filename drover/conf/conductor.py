"""Options of the conductor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["ConductorSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductorSettings:
    GROUP: ClassVar[str] = "conductor"

    name: str = setting("", "Name of this conductor, unique in the fleet; empty: host name and process id.")
    workers: int = setting(
        32,
        "Requests and syncs at once. Most of them wait for the transaction that they share, so more of them here means "
        "fewer transactions, not more threads at work.",
        minimum=1,
        maximum=256,
    )
    wait_workers: int = setting(64, "Long polls held at once; each is a parked thread.", minimum=1, maximum=1024)
    build_attempts: int = setting(3, "Hosts tried for one build before it fails.", minimum=1, maximum=20)
    resume_guests_state_on_host_boot: bool = setting(
        True,
        "Start the guests that ran on a host when it went down, once its agent shows them off after the boot. False: "
        "they become stopped, but for those whose restart policy says otherwise.",
    )
    restart_limit: int = setting(
        5,
        "How often in a row a guest that ends by itself is started again, by its restart policy or after a boot of "
        "its host, before it becomes stopped. Ten minutes of running begin a new row.",
        minimum=1,
        maximum=100,
    )
    max_count: int = setting(1000, "Most instances of one create call.", minimum=1, maximum=10000)
    user_data_max_bytes: int = setting(65536, "Most bytes of user-data.", minimum=0, maximum=1048576)
    dead_letter_dir: str = setting(
        "", "Where items of a sync that can never be applied are kept; empty: they are logged and raise an alarm only."
    )
    silence_brake_share: float = setting(
        0.2,
        "When more than this share of hosts (and at least 3) falls silent at once, alarm and move nothing.",
        minimum=0.0,
        maximum=1.0,
    )
    quarantine_failures: int = setting(
        5,
        "Builds that fail on a host within the window before it is set aside. 0: never; the scheduler weighs such hosts "
        "down all the same.",
        minimum=0,
        maximum=1000,
    )
    quarantine_window_s: float = setting(
        600.0, "Seconds that a failed build counts against its host.", minimum=1.0, maximum=86400.0
    )
    quarantine_rest_s: float = setting(
        300.0,
        "Seconds that a host is set aside before a build may try it. Each build that fails so doubles it.",
        minimum=1.0,
        maximum=86400.0,
    )
    quarantine_rest_max_s: float = setting(
        3600.0, "Most seconds that a host is set aside before a build may try it.", minimum=1.0, maximum=604800.0
    )
    quarantine_share: float = setting(
        0.2,
        "Most hosts that are set aside at once, as a share of all: what fails on many is not the fault of one. Of "
        "fewer than five hosts the default sets none aside.",
        minimum=0.0,
        maximum=1.0,
    )
    retention_days: float = setting(
        0.0,
        "Days that what has ended is kept: deleted instances, finished operations with their logs and decisions, "
        "idempotency keys, notices. 0: for ever, or until drover db purge.",
        minimum=0.0,
        maximum=36500.0,
    )

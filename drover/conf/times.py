"""Every interval and budget of Drover in one table (DESIGN §9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["TimeSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSettings:
    GROUP: ClassVar[str] = "times"

    sync_interval_s: float = setting(
        5.0,
        "Seconds between syncs of an idle agent (at least hosts/100). Raise it on fleets over 500 hosts.",
        minimum=0.2,
        maximum=300.0,
    )
    sync_spacing_s: float = setting(0.1, "Least seconds between syncs of a busy agent.", minimum=0.0, maximum=5.0)
    lease_factor: float = setting(
        3.0, "Host lease in sync intervals: without an answer for so long an agent starts nothing.", minimum=1.0
    )
    silent_factor: float = setting(
        4.0, "A host is counted silent after so many sync intervals without a sync.", minimum=1.0
    )
    owner_lease_s: float = setting(
        15.0, "Lease of a conductor on an operation; after it any conductor takes over.", minimum=0.5
    )
    reap_interval_s: float = setting(2.0, "Seconds between passes of the reaper.", minimum=0.1)
    build_queue_budget_s: float = setting(300.0, "Seconds a build may wait until an agent begins it.", minimum=1.0)
    build_run_budget_s: float = setting(600.0, "Seconds a build may run on an agent.", minimum=1.0)
    lifecycle_budget_s: float = setting(
        120.0,
        "Seconds for start, stop, reboot, pause, suspend, rescue and their like, to wait and to run. Raise it where "
        "guests have so much memory that a suspend takes longer.",
        minimum=1.0,
    )
    snapshot_queue_budget_s: float = setting(
        300.0, "Seconds a snapshot or shelve may wait until an agent begins it.", minimum=1.0
    )
    snapshot_run_budget_s: float = setting(
        900.0, "Seconds a snapshot or shelve may run. Raise it for large disks on slow networks.", minimum=1.0
    )
    delete_budget_s: float = setting(300.0, "Seconds a delete waits for its host.", minimum=1.0)
    reclaim_instance_interval_s: float = setting(
        0.0,
        "Seconds that a deleted instance can be restored: its guest is stopped and kept for so long. 0: a delete is "
        "final at once.",
        minimum=0.0,
    )
    stop_timeout_s: float = setting(
        60.0, "Seconds a guest has to shut down by ACPI before its power is cut.", minimum=0.0
    )
    join_window_s: float = setting(
        0.020, "Requests that arrive within this window share one transaction.", minimum=0.0, maximum=1.0
    )
    rpc_timeout_s: float = setting(10.0, "Seconds to wait for the answer to a call.", minimum=0.5)
    host_table_reload_s: float = setting(
        60.0, "Seconds between full reloads of the scheduler's host table.", minimum=1.0
    )
    usage_interval_s: float = setting(10.0, "Least seconds between usage reports of an agent.", minimum=0.5)

"""Instances and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from drover.objects.catalog import Flavor, Port
from drover.objects.group import Hints
from drover.states import PowerState, RestartPolicy, VmState

__all__ = ["CreateReply", "CreateRequest", "Fault", "Instance", "InstanceFilter", "InstancePage", "InstanceUsage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why the last operation failed, as the user sees it."""

    code: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceUsage:
    """What a guest uses, from one bulk stats call on its host. Counters start at the domain's start."""

    cpu_time_s: float = 0.0
    memory_mib: int = 0  # given to the guest now (balloon)
    memory_rss_mib: int = 0
    disk_allocated_mib: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    net_rx_bytes: int = 0
    net_tx_bytes: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    uuid: str
    name: str
    project_id: str
    user_id: str
    flavor: Flavor  # as it was at creation
    image_id: str
    image_name: str = ""
    key_name: str = ""
    vm_state: VmState
    task_state: str = ""  # derived from the unfinished operation; "" = none
    power_state: PowerState = PowerState.UNKNOWN
    host: str = ""
    epoch: int = 1
    locked: bool = False
    ports: tuple[Port, ...] = ()
    fault: Fault | None = None
    usage: InstanceUsage | None = None
    cleanup_hosts: tuple[str, ...] = ()  # hosts that still hold something of it ("clean-up pending on …")
    metadata: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()  # sorted
    restart: RestartPolicy = RestartPolicy.NEVER
    restarts: int = 0  # in a row, up to restarted_at: how often it was started because it had ended by itself
    restarted_at: datetime | None = None
    restart_at: datetime | None = None  # since when it is to be started again; None: it is not
    shelved_image_id: str = ""  # its disk while it is shelved
    hints: Hints = field(default_factory=Hints)
    created_at: datetime
    launched_at: datetime | None = None
    soft_deleted_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """``instance create``. References are names or ids. One idempotency key covers all of *count*."""

    name: str
    flavor: str
    image: str
    networks: tuple[str, ...] = ()  # empty = no interface ("none")
    count: int = 1
    min_count: int = 0  # 0 = count: all or nothing
    key_name: str = ""
    user_data: str = field(default="", repr=False)  # text; at most 64 KiB
    metadata: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    restart: RestartPolicy = RestartPolicy.NEVER
    hints: Hints = field(default_factory=Hints)  # group, same_host, different_host: names or ids
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateReply:
    """Uuids in the order of their names, each with its build operation."""

    instance_uuids: tuple[str, ...]
    operation_ids: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFilter:
    """Empty fields do not filter. ``marker`` is the uuid of the last row of the page before."""

    name: str = ""  # prefix
    host: str = ""
    vm_state: str = ""
    tags: tuple[str, ...] = ()  # all of them
    all_projects: bool = False
    deleted: bool = False
    limit: int = 100
    marker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePage:
    instances: tuple[Instance, ...]
    next_marker: str = ""  # "" = last page

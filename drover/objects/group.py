"""What ties instances to hosts and to one another: aggregates, server groups, hints."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = ["DEFAULT_ZONE", "Aggregate", "AggregateChange", "GroupPolicy", "Hints", "HostAggregate", "ServerGroup"]

#: the availability zone of hosts that no aggregate gives one; Nova's ``default_availability_zone``
DEFAULT_ZONE = "nova"


class GroupPolicy(StrEnum):
    """Nova's server group policies."""

    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerGroup:
    id: str
    name: str
    project_id: str = "default"
    policy: GroupPolicy
    max_per_host: int = 1  # of an anti-affinity group
    members: tuple[str, ...] = ()  # instance uuids, sorted
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Hosts that have something in common. An availability zone is an aggregate that has one; a host is in one at most."""

    id: str
    name: str
    availability_zone: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()  # sorted
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateChange:
    """What is to change; what is not named stays."""

    availability_zone: str | None = None  # "": in none
    metadata: dict[str, str] = field(default_factory=dict)  # set
    unset: tuple[str, ...] = ()  # keys of metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAggregate:
    """An aggregate as its hosts' rows in the scheduler's table carry it."""

    name: str
    availability_zone: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a request says of where it wants to be; kept with the instance for its later moves."""

    group: str = ""  # server group id
    availability_zone: str = ""
    host: str = ""  # this one only
    same_host: tuple[str, ...] = ()  # instance uuids: where any of them is
    different_host: tuple[str, ...] = ()  # instance uuids: where none of them is
    wait: bool = False  # wait for room instead of failing with NoValidHost
    wait_s: float = 0.0  # at most so long, counted from the request; 0: until it is cancelled

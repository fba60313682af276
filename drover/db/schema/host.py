"""Hosts, what may be claimed of them, and what sets some of them apart."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from drover.db.schema.base import NAME, TIME, UUID, metadata

__all__ = [
    "aggregate",
    "aggregate_host",
    "forgotten_host",
    "host",
    "host_capacity",
    "host_failure",
    "host_quarantine",
    "orphan",
]

host = Table(
    "host",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("host_uuid", UUID, nullable=False),
    Column("machine_id", String(64), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("session", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("incarnation", BigInteger, nullable=False),  # of the agent that opened the session
    Column("adopt", Integer, nullable=False),  # 1: the next registration may be another machine
    Column("address", NAME, nullable=False),
    Column("version", String(32), nullable=False),
    Column("inventory", Text, nullable=False),  # JSON
    Column("usage", Text, nullable=False),  # JSON or ""
    Column("foreign_domains", Text, nullable=False),  # JSON list
    Column("fence", Text, nullable=False),  # JSON of Fence or ""
    Column("last_sync_at", TIME),
    Column("registered_at", TIME, nullable=False),
)

#: the last session of a name that was forgotten: a machine that takes the name goes on from there
forgotten_host = Table(
    "forgotten_host",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("session", BigInteger, nullable=False),
    Column("at", TIME, nullable=False),
)

#: domains of ours that a host shows and no placement there names: listed, never touched
orphan = Table(
    "orphan",
    metadata,
    Column("host", NAME, primary_key=True),
    Column("instance_uuid", UUID, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("power_state", String(16), nullable=False),
    Column("first_seen_at", TIME, nullable=False),
    Column("seen_at", TIME, nullable=False),
)

#: what the scheduler reads and claims write; apart from liveness and usage, so that syncs never touch it
host_capacity = Table(
    "host_capacity",
    metadata,
    Column("host", NAME, primary_key=True),
    Column("enabled", Integer, nullable=False),
    Column("disabled_reason", Text, nullable=False),
    Column("up", Integer, nullable=False),  # judged by a conductor
    Column("total_vcpus", Integer, nullable=False),  # capacity: after reservation and ratio
    Column("total_memory_mib", Integer, nullable=False),
    Column("total_disk_gib", Integer, nullable=False),
    Column("used_vcpus", Integer, nullable=False),
    Column("used_memory_mib", Integer, nullable=False),
    Column("used_disk_gib", Integer, nullable=False),
    Column("architecture", String(32), nullable=False),
    Column("virt_types", Text, nullable=False),  # JSON list
    Column("traits", Text, nullable=False),  # JSON list
    Column("change", BigInteger, nullable=False),  # SQLite: counter; PostgreSQL: transaction id of the last write
    Column("draining", Integer, nullable=False),  # 1: takes no new guests, its own are to move away
    Column("quarantine", Text, nullable=False),  # why it was set aside, in words; "": it was not
    Column("probation", Text, nullable=False),  # what quarantine becomes with the next guest: one may try the host
    Column("failures", Integer, nullable=False),  # builds that failed there of late, by a conductor's count
    Column("aggregates", Text, nullable=False),  # JSON list of HostAggregate, by name: a copy for the scheduler
    Column("hardware", Text, nullable=False),  # JSON of Hardware, as registered, or ""
    Index("ix_host_capacity_change", "change"),
    CheckConstraint("used_vcpus >= 0 AND used_memory_mib >= 0 AND used_disk_gib >= 0", name="used_not_negative"),
)

#: builds that failed for a reason of their host's, once a cause; those of before the window go
host_failure = Table(
    "host_failure",
    metadata,
    Column("host", NAME, primary_key=True),
    Column("cause", NAME, primary_key=True),  # the operation; or the image, when it could not be fetched
    Column("code", String(64), nullable=False),
    Column("at", TIME, nullable=False),
    Index("ix_host_failure_at", "at"),
)

#: hosts that were set aside: until then for certain, after it until a build works there
host_quarantine = Table(
    "host_quarantine",
    metadata,
    Column("host", NAME, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", TIME, nullable=False),
    Column("until", TIME, nullable=False),
    Column("rest_s", Float, nullable=False),
)

aggregate = Table(
    "aggregate",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("availability_zone", NAME, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON object
    Column("created_at", TIME, nullable=False),
)

aggregate_host = Table(
    "aggregate_host",
    metadata,
    Column("aggregate_id", UUID, ForeignKey("aggregate.id"), primary_key=True),
    Column("host", NAME, primary_key=True),
    Index("ix_aggregate_host_host", "host"),
)

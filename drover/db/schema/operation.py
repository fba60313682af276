"""The journal's rows and what belongs to them."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from drover.db.schema.base import NAME, TIME, UUID, metadata

__all__ = ["allocation", "decision", "idempotency", "operation", "operation_log"]

operation = Table(
    "operation",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("instance_uuid", UUID, nullable=False),
    Column("instance_name", NAME, nullable=False),
    Column("action", String(16), nullable=False),
    Column("params", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False),
    Column("unfinished", Integer),  # 1 while unfinished, NULL after: the partial unique index on both databases
    Column("attempt", Integer, nullable=False),
    Column("owner", NAME, nullable=False),
    Column("owner_until", TIME),
    Column("host", NAME, nullable=False),
    Column("peer_host", NAME, nullable=False),
    Column("excluded_hosts", Text, nullable=False),  # JSON list
    Column("queue_budget_s", Float, nullable=False),
    Column("run_budget_s", Float, nullable=False),
    Column("idempotency_key", NAME),
    Column("request_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("dispatched_at", TIME),
    Column("started_at", TIME),
    Column("finished_at", TIME),
    Column("error", Text, nullable=False),  # JSON of ErrorInfo or ""
    Column("waits", Text, nullable=False),  # why it waits for room, in words; "": it does not
    CheckConstraint("unfinished IS NULL OR unfinished = 1", name="unfinished"),
    UniqueConstraint("instance_uuid", "unfinished"),  # one unfinished operation an instance; NULLs never collide
    Index("ix_operation_host_unfinished", "host", "unfinished"),
    Index("ix_operation_created_at", "created_at", "id"),
    Index("ix_operation_instance_created", "instance_uuid", "created_at"),
    Index(
        "ix_operation_owner_until",
        "owner_until",
        sqlite_where=text("unfinished = 1"),
        postgresql_where=text("unfinished = 1"),
    ),
    Index(
        "ix_operation_waits",
        "created_at",
        sqlite_where=text("waits <> '' AND unfinished = 1"),
        postgresql_where=text("waits <> '' AND unfinished = 1"),
    ),
)

operation_log = Table(
    "operation_log",
    metadata,
    Column("operation_id", UUID, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("service", NAME, primary_key=True),
    Column("document", Text, nullable=False),  # JSON of ServiceLog
)

#: one key covers one create call with all its instances, or one action
idempotency = Table(
    "idempotency",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("key", NAME, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("reply", Text, nullable=False),  # JSON of the reply
    Column("created_at", TIME, nullable=False),
)

decision = Table(
    "decision",
    metadata,
    Column("operation_id", UUID, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("chosen", NAME, nullable=False),
    Column("document", LargeBinary, nullable=False),  # zlib of the JSON of Decision
)

#: the placement: capacity, address and disk names are released only when the row goes
allocation = Table(
    "allocation",
    metadata,
    Column("instance_uuid", UUID, primary_key=True),
    Column("host", NAME, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("operation_id", UUID, nullable=False),  # the operation it was made for
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("hardware", Text, nullable=False),  # JSON of HardwareClaim or ""
    Column("group_id", UUID, nullable=False),  # of the server group whose rule it was placed by, or ""
    Column(
        "group_slot", Integer
    ),  # 0 … max_per_host - 1 in an anti-affinity group; NULL: none, and NULLs never collide
    Index("ix_allocation_host_state", "host", "state"),
    Index(
        "ix_allocation_group",
        "group_id",
        "host",
        "group_slot",
        unique=True,
        sqlite_where=text("group_id <> ''"),
        postgresql_where=text("group_id <> ''"),
    ),
    Index(
        "ix_allocation_hardware",
        "host",
        sqlite_where=text("hardware <> ''"),
        postgresql_where=text("hardware <> ''"),
    ),
)

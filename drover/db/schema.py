"""Tables. No server defaults, no triggers, no SQL clocks: every value is written by code that a test can run.

Times are UTC text of :func:`drover.clock.to_iso` (sorts as time, same on both databases). JSON is text by
:mod:`drover.objects.codec`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = ["metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

UUID = String(36)
NAME = String(255)
TIME = String(32)

#: one row: who this fleet is, and the key that depot tokens are made with
deployment = Table(
    "deployment",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("depot_key", String(64), nullable=False),
    Column("created_at", TIME, nullable=False),
)

flavor = Table(
    "flavor",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("extra_specs", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
)

image = Table(
    "image",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("status", String(16), nullable=False),
    Column("format", String(16), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("virtual_size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("architecture", String(32), nullable=False),
    Column("virt_type", String(16), nullable=False),
    Column("min_memory_mib", Integer, nullable=False),
    Column("min_disk_gib", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("deleted_at", TIME),
    Index("ix_image_name", "name"),
)

keypair = Table(
    "keypair",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("public_key", Text, nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("created_at", TIME, nullable=False),
)

network = Table(
    "network",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("name", NAME, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("cidr", String(18), nullable=False),
    Column("gateway", String(15), nullable=False),
    Column("bridge", String(15), nullable=False),
    Column("first", String(15), nullable=False),
    Column("last", String(15), nullable=False),
    Column("dns", Text, nullable=False),
    Column("mtu", Integer, nullable=False),
    Column("mac_index", Integer, nullable=False, unique=True),
    Column("cursor", Integer, nullable=False),  # offset where the search for a free address begins
    Column("generation", BigInteger, nullable=False),  # raised first in a transaction: the lock on addresses
    Column("created_at", TIME, nullable=False),
)

#: an address in use; ``offset`` counts from the network's own address
port = Table(
    "port",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("instance_uuid", UUID, nullable=False),
    Column("network_id", UUID, ForeignKey("network.id"), nullable=False),
    Column("offset", Integer, nullable=False),
    Column("mac", String(17), nullable=False, unique=True),
    Column("ip", String(15), nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("network_id", "offset"),
    Index("ix_port_instance_uuid", "instance_uuid"),
)

instance = Table(
    "instance",
    metadata,
    Column("uuid", UUID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("flavor", Text, nullable=False),  # JSON, as it was at creation
    Column("image_id", UUID, nullable=False),
    Column("image_name", NAME, nullable=False),
    Column("key_name", NAME, nullable=False),
    Column("vm_state", String(32), nullable=False),
    Column("power_state", String(16), nullable=False),
    Column("host", NAME, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("locked", Integer, nullable=False),
    Column("fault", Text, nullable=False),  # JSON of Fault or ""
    Column("metadata", Text, nullable=False),
    Column("tags", Text, nullable=False),  # JSON list, sorted
    Column("restart", String(16), nullable=False),  # RestartPolicy
    Column("restarts", Integer, nullable=False),  # in a row, up to restarted_at
    Column("restarted_at", TIME),
    Column("restart_at", TIME),  # since when it is to be started again; NULL: it is not
    Column("shelved_image_id", UUID, nullable=False),  # its disk while it is shelved, or ""
    Column("soft_deleted_at", TIME),
    Column("usage", Text, nullable=False),  # JSON of InstanceUsage or ""
    Column("observed", BigInteger, nullable=False),  # session * 2^32 + seq of the last observation applied
    Column("created_at", TIME, nullable=False),
    Column("launched_at", TIME),
    Column("deleted_at", TIME),
    Index("ix_instance_name", "name"),
    Index("ix_instance_host", "host"),
    Index("ix_instance_created_at", "created_at", "uuid"),
    Index(  # what a quota counts
        "ix_instance_project_id",
        "project_id",
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
    # Few rows at any time, and none of them changes with a build or a delete.
    *(
        Index(
            f"ix_instance_{column}",
            column,
            sqlite_where=text(f"{column} IS NOT NULL"),
            postgresql_where=text(f"{column} IS NOT NULL"),
        )
        for column in ("restart_at", "soft_deleted_at")
    ),
    Index(
        "ix_instance_shelved_image_id",
        "shelved_image_id",
        sqlite_where=text("shelved_image_id <> ''"),
        postgresql_where=text("shelved_image_id <> ''"),
    ),
)

#: user-data and injected keys: referenced, never in operations, logs or traces
instance_secret = Table(
    "instance_secret",
    metadata,
    Column("instance_uuid", UUID, primary_key=True),
    Column("user_data", Text, nullable=False),
    Column("ssh_keys", Text, nullable=False),  # JSON list
)

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
    Index("ix_allocation_host_state", "host", "state"),
)

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
    Index("ix_host_capacity_change", "change"),
    CheckConstraint("used_vcpus >= 0 AND used_memory_mib >= 0 AND used_disk_gib >= 0", name="used_not_negative"),
)

#: limits of a project, -1: none; no row: none at all
quota = Table(
    "quota",
    metadata,
    Column("project_id", String(64), primary_key=True),
    Column("instances", Integer, nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("addresses", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),  # raised by each create: the lock on the project's use
)

decision = Table(
    "decision",
    metadata,
    Column("operation_id", UUID, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("chosen", NAME, nullable=False),
    Column("document", LargeBinary, nullable=False),  # zlib of the JSON of Decision
)

service = Table(
    "service",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("version", String(32), nullable=False),
    Column("seen_at", TIME, nullable=False),
)

alarm = Table(
    "alarm",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("subject", NAME, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("at", TIME, nullable=False),
)

"""Instances, what they keep secret, and the rules between them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from drover.db.schema.base import NAME, TIME, UUID, metadata

__all__ = ["instance", "instance_secret", "server_group", "server_group_member"]

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
    Column("hints", Text, nullable=False),  # JSON of Hints or ""
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

#: rules between instances; ``generation`` is raised first by each claim of a member: the lock on the group
server_group = Table(
    "server_group",
    metadata,
    Column("id", UUID, primary_key=True),
    Column("project_id", String(64), nullable=False),
    Column("name", NAME, nullable=False),
    Column("policy", String(32), nullable=False),
    Column("max_per_host", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", TIME, nullable=False),
    UniqueConstraint("project_id", "name"),
)

#: members are instances that are not deleted, placed or not
server_group_member = Table(
    "server_group_member",
    metadata,
    Column("group_id", UUID, ForeignKey("server_group.id"), primary_key=True),
    Column("instance_uuid", UUID, primary_key=True),
    Index("ix_server_group_member_instance_uuid", "instance_uuid"),
)

"""Groups, aggregates, hints, hardware, waiting for room."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UUID = sa.String(length=36)
NAME = sa.String(length=255)
ID = sa.String(length=64)
SHORT = sa.String(length=32)


def upgrade() -> None:
    _groups()
    _aggregates()
    _quarantine()
    _add("image", properties=(sa.Text(), "{}"))
    _add("instance", hints=(sa.Text(), ""))
    _add("operation", waits=(sa.Text(), ""))
    _add("allocation", hardware=(sa.Text(), ""), group_id=(UUID, ""), group_slot=(sa.Integer(), None))
    _add(
        "host_capacity",
        draining=(sa.Integer(), "0"),
        quarantine=(sa.Text(), ""),
        probation=(sa.Text(), ""),
        failures=(sa.Integer(), "0"),
        aggregates=(sa.Text(), "[]"),
        hardware=(sa.Text(), ""),
    )
    _partial_index("ix_operation_waits", "operation", ["created_at"], "waits <> '' AND unfinished = 1")
    _partial_index(
        "ix_allocation_group", "allocation", ["group_id", "host", "group_slot"], "group_id <> ''", unique=True
    )
    _partial_index("ix_allocation_hardware", "allocation", ["host"], "hardware <> ''")


def _groups() -> None:
    op.create_table(
        "server_group",
        sa.Column("id", UUID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("policy", SHORT, nullable=False),
        sa.Column("max_per_host", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server_group")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_server_group_project_id_name")),
    )
    op.create_table(
        "server_group_member",
        sa.Column("group_id", UUID, nullable=False),
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["server_group.id"], name=op.f("fk_server_group_member_group_id")),
        sa.PrimaryKeyConstraint("group_id", "instance_uuid", name=op.f("pk_server_group_member")),
    )
    op.create_index("ix_server_group_member_instance_uuid", "server_group_member", ["instance_uuid"])


def _aggregates() -> None:
    op.create_table(
        "aggregate",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("availability_zone", NAME, nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_aggregate")),
        sa.UniqueConstraint("name", name=op.f("uq_aggregate_name")),
    )
    op.create_table(
        "aggregate_host",
        sa.Column("aggregate_id", UUID, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.ForeignKeyConstraint(["aggregate_id"], ["aggregate.id"], name=op.f("fk_aggregate_host_aggregate_id")),
        sa.PrimaryKeyConstraint("aggregate_id", "host", name=op.f("pk_aggregate_host")),
    )
    op.create_index("ix_aggregate_host_host", "aggregate_host", ["host"])


def _quarantine() -> None:
    op.create_table(
        "host_failure",
        sa.Column("host", NAME, nullable=False),
        sa.Column("cause", NAME, nullable=False),
        sa.Column("code", ID, nullable=False),
        sa.Column("at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("host", "cause", name=op.f("pk_host_failure")),
    )
    op.create_index("ix_host_failure_at", "host_failure", ["at"])
    op.create_table(
        "host_quarantine",
        sa.Column("host", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", SHORT, nullable=False),
        sa.Column("until", SHORT, nullable=False),
        sa.Column("rest_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_host_quarantine")),
    )


def _add(table: str, **columns: tuple[sa.types.TypeEngine[Any], str | None]) -> None:
    """New columns with a value for the rows that are there; a value of None: they may be NULL.

    The default is gone afterwards: every value is written by code.
    """
    with op.batch_alter_table(table) as batch:
        for name, (kind, value) in columns.items():
            batch.add_column(sa.Column(name, kind, nullable=value is None, server_default=value))
    with op.batch_alter_table(table) as batch:
        for name, (kind, value) in columns.items():
            if value is not None:
                batch.alter_column(name, existing_type=kind, existing_nullable=False, server_default=None)


def _partial_index(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)

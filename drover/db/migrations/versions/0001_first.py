"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UUID = sa.String(length=36)
NAME = sa.String(length=255)
ID = sa.String(length=64)
SHORT = sa.String(length=32)
WORD = sa.String(length=16)
IP = sa.String(length=15)


def upgrade() -> None:
    _catalog()
    _networks()
    _instances()
    _operations()
    _operation_details()
    _hosts()
    _services()


def _catalog() -> None:
    """Flavors, images, keypairs, and who the fleet is."""
    op.create_table(
        "deployment",
        sa.Column("id", UUID, nullable=False),
        sa.Column("depot_key", ID, nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_table(
        "flavor",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("extra_specs", sa.Text(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flavor")),
        sa.UniqueConstraint("name", name=op.f("uq_flavor_name")),
    )
    op.create_table(
        "image",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("status", WORD, nullable=False),
        sa.Column("format", WORD, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("virtual_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("architecture", SHORT, nullable=False),
        sa.Column("virt_type", WORD, nullable=False),
        sa.Column("min_memory_mib", sa.Integer(), nullable=False),
        sa.Column("min_disk_gib", sa.Integer(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.Column("deleted_at", SHORT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
    )
    op.create_index("ix_image_name", "image", ["name"])
    op.create_table(
        "keypair",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_keypair")),
    )


def _networks() -> None:
    """Networks and the addresses in use."""
    op.create_table(
        "network",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("cidr", sa.String(length=18), nullable=False),
        sa.Column("gateway", IP, nullable=False),
        sa.Column("bridge", IP, nullable=False),
        sa.Column("first", IP, nullable=False),
        sa.Column("last", IP, nullable=False),
        sa.Column("dns", sa.Text(), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("mac_index", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network")),
        sa.UniqueConstraint("mac_index", name=op.f("uq_network_mac_index")),
        sa.UniqueConstraint("name", name=op.f("uq_network_name")),
    )
    op.create_table(
        "port",
        sa.Column("id", UUID, nullable=False),
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.Column("network_id", UUID, nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(length=17), nullable=False),
        sa.Column("ip", IP, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_port_network_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_port")),
        sa.UniqueConstraint("mac", name=op.f("uq_port_mac")),
        sa.UniqueConstraint("network_id", "offset", name=op.f("uq_port_network_id_offset")),
    )
    op.create_index("ix_port_instance_uuid", "port", ["instance_uuid"])


def _instances() -> None:
    """Instances and what they keep secret."""
    op.create_table(
        "instance",
        sa.Column("uuid", UUID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("flavor", sa.Text(), nullable=False),
        sa.Column("image_id", UUID, nullable=False),
        sa.Column("image_name", NAME, nullable=False),
        sa.Column("key_name", NAME, nullable=False),
        sa.Column("vm_state", SHORT, nullable=False),
        sa.Column("power_state", WORD, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("locked", sa.Integer(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("restart", WORD, nullable=False),
        sa.Column("restarts", sa.Integer(), nullable=False),
        sa.Column("restarted_at", SHORT, nullable=True),
        sa.Column("restart_at", SHORT, nullable=True),
        sa.Column("shelved_image_id", UUID, nullable=False),
        sa.Column("soft_deleted_at", SHORT, nullable=True),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("observed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.Column("launched_at", SHORT, nullable=True),
        sa.Column("deleted_at", SHORT, nullable=True),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_instance")),
    )
    op.create_index("ix_instance_created_at", "instance", ["created_at", "uuid"])
    op.create_index("ix_instance_host", "instance", ["host"])
    op.create_index("ix_instance_name", "instance", ["name"])
    for column, condition in (
        ("project_id", "deleted_at IS NULL"),
        ("restart_at", "restart_at IS NOT NULL"),
        ("shelved_image_id", "shelved_image_id <> ''"),
        ("soft_deleted_at", "soft_deleted_at IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(f"ix_instance_{column}", "instance", [column], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "instance_secret",
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.Column("user_data", sa.Text(), nullable=False),
        sa.Column("ssh_keys", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid", name=op.f("pk_instance_secret")),
    )


def _operations() -> None:
    """The journal's rows."""
    op.create_table(
        "operation",
        sa.Column("id", UUID, nullable=False),
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.Column("instance_name", NAME, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("unfinished", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("owner", NAME, nullable=False),
        sa.Column("owner_until", SHORT, nullable=True),
        sa.Column("host", NAME, nullable=False),
        sa.Column("peer_host", NAME, nullable=False),
        sa.Column("excluded_hosts", sa.Text(), nullable=False),
        sa.Column("queue_budget_s", sa.Float(), nullable=False),
        sa.Column("run_budget_s", sa.Float(), nullable=False),
        sa.Column("idempotency_key", NAME, nullable=True),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.Column("dispatched_at", SHORT, nullable=True),
        sa.Column("started_at", SHORT, nullable=True),
        sa.Column("finished_at", SHORT, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.CheckConstraint("unfinished IS NULL OR unfinished = 1", name=op.f("ck_operation_unfinished")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
        sa.UniqueConstraint("instance_uuid", "unfinished", name=op.f("uq_operation_instance_uuid_unfinished")),
    )
    op.create_index("ix_operation_created_at", "operation", ["created_at", "id"])
    op.create_index("ix_operation_host_unfinished", "operation", ["host", "unfinished"])
    op.create_index("ix_operation_instance_created", "operation", ["instance_uuid", "created_at"])
    op.create_index(
        "ix_operation_owner_until",
        "operation",
        ["owner_until"],
        sqlite_where=sa.text("unfinished = 1"),
        postgresql_where=sa.text("unfinished = 1"),
    )


def _operation_details() -> None:
    """What belongs to operations: logs, decisions, idempotency keys, placements."""
    op.create_table(
        "operation_log",
        sa.Column("operation_id", UUID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("service", NAME, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "attempt", "service", name=op.f("pk_operation_log")),
    )
    op.create_table(
        "decision",
        sa.Column("operation_id", UUID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("chosen", NAME, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "attempt", name=op.f("pk_decision")),
    )
    op.create_table(
        "idempotency",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("digest", ID, nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "allocation",
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.Column("host", NAME, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("operation_id", UUID, nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("created_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("instance_uuid", "host", "epoch", name=op.f("pk_allocation")),
    )
    op.create_index("ix_allocation_host_state", "allocation", ["host", "state"])


def _hosts() -> None:
    """Hosts and what may be claimed of them."""
    op.create_table(
        "host",
        sa.Column("name", NAME, nullable=False),
        sa.Column("host_uuid", UUID, nullable=False),
        sa.Column("machine_id", ID, nullable=False),
        sa.Column("boot_id", ID, nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("adopt", sa.Integer(), nullable=False),
        sa.Column("address", NAME, nullable=False),
        sa.Column("version", SHORT, nullable=False),
        sa.Column("inventory", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("foreign_domains", sa.Text(), nullable=False),
        sa.Column("fence", sa.Text(), nullable=False),
        sa.Column("last_sync_at", SHORT, nullable=True),
        sa.Column("registered_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_host")),
    )
    op.create_table(
        "forgotten_host",
        sa.Column("name", NAME, nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_forgotten_host")),
    )
    op.create_table(
        "orphan",
        sa.Column("host", NAME, nullable=False),
        sa.Column("instance_uuid", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("power_state", WORD, nullable=False),
        sa.Column("first_seen_at", SHORT, nullable=False),
        sa.Column("seen_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("host", "instance_uuid", name=op.f("pk_orphan")),
    )
    op.create_table(
        "host_capacity",
        sa.Column("host", NAME, nullable=False),
        sa.Column("enabled", sa.Integer(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        sa.Column("up", sa.Integer(), nullable=False),
        sa.Column("total_vcpus", sa.Integer(), nullable=False),
        sa.Column("total_memory_mib", sa.Integer(), nullable=False),
        sa.Column("total_disk_gib", sa.Integer(), nullable=False),
        sa.Column("used_vcpus", sa.Integer(), nullable=False),
        sa.Column("used_memory_mib", sa.Integer(), nullable=False),
        sa.Column("used_disk_gib", sa.Integer(), nullable=False),
        sa.Column("architecture", SHORT, nullable=False),
        sa.Column("virt_types", sa.Text(), nullable=False),
        sa.Column("traits", sa.Text(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "used_vcpus >= 0 AND used_memory_mib >= 0 AND used_disk_gib >= 0",
            name=op.f("ck_host_capacity_used_not_negative"),
        ),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_host_capacity")),
    )
    op.create_index("ix_host_capacity_change", "host_capacity", ["change"])


def _services() -> None:
    """Conductors, schedulers, and what an operator sets and should know."""
    op.create_table(
        "quota",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("addresses", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_quota")),
    )
    op.create_table(
        "service",
        sa.Column("kind", WORD, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("version", SHORT, nullable=False),
        sa.Column("seen_at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_service")),
    )
    op.create_table(
        "alarm",
        sa.Column("kind", ID, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", SHORT, nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_alarm")),
    )

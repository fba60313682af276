"""Flavors, images, keypairs, networks and the addresses in use; what a project may have; who the fleet is."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from drover.db.schema.base import NAME, TIME, UUID, metadata

__all__ = ["deployment", "flavor", "image", "keypair", "network", "port", "quota"]

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
    Column("properties", Text, nullable=False),  # JSON object: what it asks of a host, as a flavor's extra_specs do
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

"""Conductors and schedulers, and what an operator should know."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text

from drover.db.schema.base import NAME, TIME, metadata

__all__ = ["alarm", "service"]

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

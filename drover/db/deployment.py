"""The one row that says who this fleet is."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db import schema
from drover.db.engine import Database
from drover.db.turn import Turn, take
from drover.objects.deployment import Deployment
from drover.runtime import Runtime

__all__ = ["ensure_deployment", "get"]


def get(connection: sa.Connection) -> Deployment:
    """:raises errors.NotFound: nobody has called :func:`ensure_deployment` yet."""
    row = connection.execute(sa.select(schema.deployment)).first()
    if row is None:
        raise errors.NotFound(what="deployment", ref="in this database")
    return Deployment(id=row.id, depot_key=row.depot_key, created_at=from_iso(row.created_at))


def ensure_deployment(database: Database, runtime: Runtime) -> Deployment:
    """The deployment, made by the first caller. Its id and key never change after."""
    with database.write() as connection:
        take(connection, Turn.SCHEMA)
        try:
            return get(connection)
        except errors.NotFound:
            made = Deployment(id=runtime.uuid(), depot_key=_key(runtime), created_at=runtime.clock.now())
            row = {"id": made.id, "depot_key": made.depot_key, "created_at": to_iso(made.created_at)}
            connection.execute(schema.deployment.insert(), row)
            return made


def _key(runtime: Runtime) -> str:
    """32 bytes as hex. Random UUIDs come from the kernel; the runtime's Random is not made for secrets."""
    return hashlib.sha256("".join(runtime.uuid() for _ in range(4)).encode()).hexdigest()

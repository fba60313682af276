"""What ended long ago: found by one query a kind, removed in small transactions.

A purge that is cut short leaves nothing that the next does not find.  A ``leaving`` placement is never touched, and
keeps its instance's record until its host has cleaned up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, Select, bindparam, delete, exists, func, select

from drover.clock import to_iso
from drover.db.bulk import among, listed
from drover.db.schema import (
    alarm,
    allocation,
    decision,
    idempotency,
    image,
    instance,
    operation,
    operation_log,
    orphan,
    port,
    server_group_member,
    service,
)

__all__ = ["KINDS", "Kind", "candidates", "count", "remove"]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Rows of one table that may go once *ended* is long ago, with the rows of others that are part of them.

    *key* need not be unique: a row goes only when its own time has come.
    """

    key: Column[str]
    ended: Column[str]
    also: tuple[ColumnElement[bool], ...] = ()
    parts: tuple[Column[str], ...] = ()

    @property
    def table(self) -> str:
        return str(self.key.table.name)

    def old(self) -> Select[str]:
        """Keys of what may go, oldest first."""
        # For operations: created_at has the index, and is no later than the end.
        begun = self.key.table.c.get("created_at", self.ended)
        where = (begun < bindparam("before"), self.ended < bindparam("before"), *self.also)
        return select(self.key).where(*where).order_by(begun, self.key)


#: in order: what refers to others goes before them
KINDS: tuple[Kind, ...] = (
    # A key is no younger than its operations, so no key answers with an operation that is gone.
    Kind(idempotency.c.key, idempotency.c.created_at),
    Kind(
        operation.c.id,
        operation.c.finished_at,
        # What placed an instance that is still there explains why it is where it is.
        (
            operation.c.unfinished.is_(None),
            ~exists().where(
                allocation.c.instance_uuid == operation.c.instance_uuid, allocation.c.operation_id == operation.c.id
            ),
        ),
        (operation_log.c.operation_id, decision.c.operation_id),
    ),
    Kind(
        instance.c.uuid,
        instance.c.deleted_at,
        tuple(
            ~exists().where(column == instance.c.uuid)
            for column in (allocation.c.instance_uuid, operation.c.instance_uuid, port.c.instance_uuid)
        ),
        (server_group_member.c.instance_uuid,),
    ),
    Kind(
        image.c.id,
        image.c.deleted_at,
        (~exists().where((instance.c.image_id == image.c.id) | (instance.c.shelved_image_id == image.c.id)),),
    ),
    Kind(service.c.name, service.c.seen_at),
    Kind(alarm.c.subject, alarm.c.at),
    Kind(orphan.c.instance_uuid, orphan.c.seen_at),
)


def candidates(conn: Connection, kind: Kind, before: datetime, most: int) -> list[str]:
    """Keys of rows that ended before *before*, oldest first."""
    return list(conn.execute(kind.old().limit(most), {"before": to_iso(before)}).scalars())


def count(conn: Connection, kind: Kind, before: datetime) -> dict[str, int]:
    """How many rows :func:`remove` would take in all, by table."""
    old = kind.old().order_by(None)
    values = {"before": to_iso(before)}
    found = {kind.table: int(conn.execute(select(func.count()).select_from(old.subquery()), values).scalar_one())}
    for part in kind.parts:
        query = select(func.count()).select_from(part.table).where(part.in_(old))
        found[str(part.table.name)] = int(conn.execute(query, values).scalar_one())
    return found


def remove(conn: Connection, kind: Kind, keys: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete what :func:`candidates` has found, with its parts; how many rows went, by table."""
    values = {"keys": listed(keys), "before": to_iso(before)}
    gone = {
        str(part.table.name): conn.execute(delete(part.table).where(among(part, bindparam("keys"))), values).rowcount
        for part in kind.parts
    }
    mine = delete(kind.key.table).where(among(kind.key, bindparam("keys")), kind.ended < bindparam("before"))
    gone[kind.table] = conn.execute(mine, values).rowcount
    return gone

"""Decisions of the scheduler, kept for ``drover why``: one row an attempt, the document compressed."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from drover.db.schema import decision
from drover.objects import codec
from drover.objects.operation import Decision

__all__ = ["Entry", "of_operation", "pack", "put"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as it is stored. One *document* may serve all requests that were equal."""

    operation_id: str
    attempt: int
    chosen: str
    document: bytes


def pack(value: Decision) -> bytes:
    """The document of an :class:`Entry`."""
    # Level 1: documents are written at each placement and hardly ever read.
    return zlib.compress(codec.to_json(value).encode(), 1)


def put(conn: Connection, entries: Iterable[Entry]) -> None:
    """Store decisions; a later one of the same attempt replaces the earlier."""
    rows = [
        {"operation_id": e.operation_id, "attempt": e.attempt, "chosen": e.chosen, "document": e.document}
        for e in entries
    ]
    if not rows:
        return
    insert = (postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert)(decision)
    conn.execute(
        insert.on_conflict_do_update(
            index_elements=[decision.c.operation_id, decision.c.attempt],
            set_={"chosen": insert.excluded.chosen, "document": insert.excluded.document},
        ),
        rows,
    )


def of_operation(conn: Connection, operation_id: str) -> tuple[Decision, ...]:
    """The decisions about an operation, oldest attempt first."""
    query = select(decision).where(decision.c.operation_id == operation_id).order_by(decision.c.attempt)
    return tuple(
        dataclasses.replace(
            codec.from_json(zlib.decompress(row.document), Decision),
            operation_id=row.operation_id,
            attempt=row.attempt,
            chosen=row.chosen,
        )
        for row in conn.execute(query)
    )

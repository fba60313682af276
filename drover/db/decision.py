"""Decisions of the scheduler, kept for ``drover why``: one row an attempt, the document compressed."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select, text

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
    kept = list(entries)
    if not kept:
        return
    if conn.dialect.name == "postgresql":
        conn.execute(_PUT_ALL, {"entries": codec.to_json(kept)})
    else:
        conn.execute(_PUT_ONE, [{name: getattr(entry, name) for name in Entry.__dataclass_fields__} for entry in kept])


_PUT = """
INSERT INTO decision (operation_id, attempt, chosen, document) {}
ON CONFLICT (operation_id, attempt) DO UPDATE SET chosen = excluded.chosen, document = excluded.document
"""
_PUT_ONE = text(_PUT.format("VALUES (:operation_id, :attempt, :chosen, :document)"))
#: one statement for a batch: a statement a row costs five times the CPU. In JSON bytes are base64.
_PUT_ALL = text(
    _PUT.format(
        "SELECT operation_id, attempt, chosen, decode(document, 'base64') FROM json_to_recordset(CAST(:entries AS json)) "
        "AS each(operation_id text, attempt int, chosen text, document text)"
    )
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

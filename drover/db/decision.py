"""Decisions of the scheduler, kept for ``drover why``: one row an attempt, the document compressed.

A document is a line of JSON and then, as they are, the bytes that say of every host which filter refused it.  Of a
large fleet it is kilobytes: then the placements of a batch that share one have it once, and the others name the row
that has it.  A refusal always has its own, for it may be decided anew, and the row replaced.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, text

from drover.db.bulk import among, listed
from drover.db.schema import decision
from drover.objects import codec
from drover.objects.operation import Decision

__all__ = ["Entry", "latest", "of_operation", "pack", "put", "unpack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as it is stored. One *document* may serve all requests that were equal."""

    operation_id: str
    attempt: int
    chosen: str
    document: bytes


def pack(value: Decision) -> bytes:
    """The document of an :class:`Entry`."""
    line = codec.to_json(dataclasses.replace(value, refusals=b"")).encode()
    # Level 1: documents are written at each placement and hardly ever read.
    return zlib.compress(line + b"\n" + value.refusals, 1)


def unpack(document: bytes) -> Decision:
    """What :func:`pack` made a document of."""
    line, _, refusals = zlib.decompress(document).partition(b"\n")
    return dataclasses.replace(codec.from_json(line, Decision), refusals=refusals)


def put(conn: Connection, entries: Iterable[Entry]) -> None:
    """Store decisions; a later one of the same attempt replaces the earlier."""
    kept = _sharing(entries)
    if not kept:
        return
    if conn.dialect.name == "postgresql":
        conn.execute(_PUT_ALL, {"entries": codec.to_json(kept)})
    else:
        conn.execute(_PUT_ONE, [{name: getattr(entry, name) for name in Entry.__dataclass_fields__} for entry in kept])


#: bytes from which a document is worth a second look-up when it is read
_LARGE = 1024
#: what a document begins with that is another row's; zlib's begin with "x"
_SAME_AS = b"="


def _sharing(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries, of which only the first with a large document has it."""
    first: dict[bytes, Entry] = {}
    kept = []
    for entry in entries:
        owner = entry
        if entry.chosen and len(entry.document) >= _LARGE:
            owner = first.setdefault(entry.document, entry)
        if owner is not entry:
            reference = _SAME_AS + f"{owner.operation_id} {owner.attempt}".encode()
            entry = dataclasses.replace(entry, document=reference)  # noqa: PLW2901
        kept.append(entry)
    return kept


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
    """The decisions about an operation, oldest attempt first.

    One is not told any more when its document was purged with the operation that had it.
    """
    query = select(decision).where(decision.c.operation_id == operation_id).order_by(decision.c.attempt)
    return _values(conn, conn.execute(query).all())


def latest(conn: Connection, operation_ids: Iterable[str]) -> dict[str, Decision]:
    """The newest decision about each operation that has any."""
    found = _values(conn, conn.execute(_OF_ALL, {"ids": listed(operation_ids)}).all())
    return {each.operation_id: each for each in found}


_OF_ALL = (
    select(decision)
    .where(among(decision.c.operation_id, bindparam("ids")))
    .order_by(decision.c.attempt)  # the last wins
)


def _values(conn: Connection, rows: Sequence[Row[Any]]) -> tuple[Decision, ...]:
    return tuple(
        dataclasses.replace(unpack(document), operation_id=row.operation_id, attempt=row.attempt, chosen=row.chosen)
        for row in rows
        if (document := _document(conn, row.document)) is not None
    )


def _document(conn: Connection, stored: bytes) -> bytes | None:
    """Itself, or that of the row it names; None when that is gone."""
    if not stored.startswith(_SAME_AS):
        return stored
    operation_id, attempt = stored.removeprefix(_SAME_AS).decode().split(" ")
    row = conn.execute(_DOCUMENT, {"id": operation_id, "of_attempt": int(attempt)}).first()
    return None if row is None else bytes(row.document)


_DOCUMENT = select(decision.c.document).where(
    decision.c.operation_id == bindparam("id"), decision.c.attempt == bindparam("of_attempt")
)

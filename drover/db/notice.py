"""Small records about the fleet: services' heartbeats, alarms, idempotency keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from drover.clock import from_iso, to_iso
from drover.db.engine import Database, insert_ignore
from drover.db.schema import alarm, idempotency, service

__all__ = [
    "Remembered",
    "alarms",
    "answers",
    "beat",
    "clear",
    "raise_alarm",
    "recall",
    "remember",
    "reword",
    "services",
]


def beat(conn: Connection, kind: str, name: str, version: str, now: datetime) -> None:
    """A service is alive."""
    here = (service.c.kind == kind, service.c.name == name)
    values: dict[str, Any] = {"version": version, "seen_at": to_iso(now)}
    if conn.execute(update(service).where(*here).values(**values)).rowcount == 0:
        conn.execute(insert_ignore(conn, service), [{"kind": kind, "name": name, **values}])


def services(conn: Connection) -> list[tuple[str, str, str, datetime]]:
    """(kind, name, version, last seen), by kind and name."""
    rows = conn.execute(select(service).order_by(service.c.kind, service.c.name))
    return [(row.kind, row.name, row.version, from_iso(row.seen_at)) for row in rows]


def answers(database: Database) -> None:
    """:raises drover.errors.Unavailable: the database does not."""
    with database.read() as conn:
        services(conn)


def raise_alarm(conn: Connection, kind: str, subject: str, detail: str, now: datetime) -> bool:
    """One row per (kind, subject); raising it again keeps the time it began, and is False."""
    row = {"kind": kind, "subject": subject, "detail": detail, "at": to_iso(now)}
    return conn.execute(insert_ignore(conn, alarm), [row]).rowcount == 1


def reword(conn: Connection, kind: str, subject: str, detail: str) -> None:
    """What is to be said of an alarm that stands has changed."""
    of = (alarm.c.kind == kind, alarm.c.subject == subject, alarm.c.detail != detail)
    conn.execute(update(alarm).where(*of).values(detail=detail))


def clear(conn: Connection, kind: str, subjects: Iterable[str]) -> list[str]:
    """The subjects whose alarm stood."""
    wanted = sorted(set(subjects))
    if not wanted:
        return []
    gone = delete(alarm).where(alarm.c.kind == kind, alarm.c.subject.in_(wanted)).returning(alarm.c.subject)
    return sorted(conn.execute(gone).scalars())


def alarms(conn: Connection) -> list[tuple[str, str, str, str]]:
    """(kind, subject, detail, since), oldest first."""
    rows = conn.execute(select(alarm).order_by(alarm.c.at, alarm.c.kind, alarm.c.subject))
    return [(row.kind, row.subject, row.detail, row.at) for row in rows]


@dataclass(frozen=True, slots=True)
class Remembered:
    """An idempotency key that was used before. ``reply`` is JSON."""

    digest: str
    reply: str


def recall(conn: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Remembered]:
    """What (project, key) pairs were answered before."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    query = select(idempotency).where(tuple_(idempotency.c.project_id, idempotency.c.key).in_(wanted))
    return {(row.project_id, row.key): Remembered(row.digest, row.reply) for row in conn.execute(query)}


def remember(conn: Connection, entries: Mapping[tuple[str, str], Remembered], now: datetime) -> None:
    """Keep replies under their keys, in the transaction that makes what they name.

    :raises drover.errors.StoreConflict: another transaction used one of the keys just now; redo, and recall finds it.
    """
    rows = [
        {"project_id": project, "key": key, "digest": entry.digest, "reply": entry.reply, "created_at": to_iso(now)}
        for (project, key), entry in sorted(entries.items())
    ]
    if rows:
        conn.execute(insert(idempotency), rows)

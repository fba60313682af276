"""``drover db``: its ``upgrade`` and ``restored`` are the only commands that open the database themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import RenderableType
from rich.text import Text

from drover.cli.confirm import agreed, previewed
from drover.cli.options import Group
from drover.cli.output import Indented
from drover.cli.session import Session, pass_session
from drover.objects.audit import PurgeReport
from drover.objects.preview import Consequence, Settlement

if TYPE_CHECKING:
    from drover.db.engine import Database

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """The database's schema, and how long it keeps things."""


@db.command("upgrade")
@pass_session
def upgrade(session: Session) -> None:
    """Bring the schema to this release's revision.

    Several at once are harmless: one migrates, the others find it done. Services that wait for the revision go
    on by themselves.
    """
    from drover.db import migration

    with _opened(session) as database:
        revision = session.call(lambda: migration.upgrade(database))
    session.printer.confirm({"revision": revision}, f"database is at revision {revision}")


@db.command("restored")
@previewed
@pass_session
def restored(session: Session, dry_run: bool, yes: bool) -> None:
    """Settle a database that was put back from a copy, before any service reads it.

    What the copy shows as under way has ended since and is not done again: it fails as OutcomeUnknown. Agents
    register anew. Placements stay as they are, and so do guests; what the copy does not know is listed by drover
    doctor. All conductors and schedulers must be stopped.
    """
    from drover.db import migration
    from drover.db import restored as past

    with _opened(session) as database:
        with database.write() as connection:  # another one would pass for a service's
            migration.require(migration.revision_of(connection))
        seen = session.call(lambda: past.survey(database))
        if dry_run:
            session.printer.document(seen, lambda: _settlement(seen, "would be settled"))
            return
        if not agreed(session, "Settle the restored database?", seen.consequences, yes=yes):
            raise click.Abort
        done = session.call(lambda: past.settle(database, session.runtime.clock.now()))
    session.printer.document(done, lambda: _settlement(done, "is settled: start the services"))


@contextmanager
def _opened(session: Session) -> Iterator[Database]:
    from drover.conf.database import DatabaseSettings
    from drover.db.engine import Database

    settings = session.configuration.get(DatabaseSettings)
    database = Database(settings.connection, settings, session.runtime)
    try:
        yield database
    finally:
        database.close()


def _settlement(seen: Settlement, what: str) -> Iterator[RenderableType | Indented]:
    yield Text(f"the database {what}")
    yield from (Indented(Text(f"{each.subject}: {each.effect}")) for each in seen.consequences)


@db.command("purge")
@click.option(
    "--before", "days", type=click.FloatRange(min=1), required=True, metavar="DAYS", help="What ended earlier."
)
@previewed
@pass_session
def purge(session: Session, days: float, dry_run: bool, yes: bool) -> None:
    """Remove what ended long ago.

    Deleted instances, finished operations with their logs and decisions, idempotency keys, alarms and other notices.
    What a host has yet to clean up stays, with its instance. See [conductor] retention_days for doing it always.
    """
    counted = session.call(lambda: session.conductor.purge(session.context, days, dry_run=True))
    if dry_run:
        session.printer.confirm(counted, _words(counted, "would go"))
        return
    shown = [Consequence(subject=table, effect=f"{rows} rows go") for table, rows in counted.rows.items() if rows]
    if not shown:
        session.printer.confirm(counted, _words(counted, "removed"))
        return
    if not agreed(session, f"Remove what ended {days:g} days ago and earlier?", shown, yes=yes):
        raise click.Abort
    gone: Counter[str] = Counter()
    while True:
        part = session.call(lambda: session.conductor.purge(session.context, days))
        gone.update(part.rows)
        if not part.more:
            break
        session.note(f"{gone.total()} rows so far …")
    report = PurgeReport(rows=dict(gone))
    session.printer.confirm(report, _words(report, "removed"))


def _words(report: PurgeReport, done: str) -> str:
    rows = ", ".join(f"{count} {table}" for table, count in report.rows.items() if count)
    return f"{done}: {rows}" if rows else f"nothing {done}"

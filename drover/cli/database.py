"""``drover db``: its ``upgrade`` is the only command that opens the database itself."""

from __future__ import annotations

from collections import Counter

import click

from drover.cli.confirm import agreed, previewed
from drover.cli.options import Group
from drover.cli.session import Session, pass_session
from drover.objects.audit import PurgeReport
from drover.objects.preview import Consequence

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
    from drover.conf.database import DatabaseSettings
    from drover.db import migration
    from drover.db.engine import Database

    settings = session.configuration.get(DatabaseSettings)
    database = Database(settings.connection, settings, session.runtime)
    try:
        revision = session.call(lambda: migration.upgrade(database))
    finally:
        database.close()
    session.printer.confirm({"revision": revision}, f"database is at revision {revision}")


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
    if not agreed(session, f"Remove what ended more than {days:g} days ago?", shown, yes=yes):
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

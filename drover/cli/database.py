"""``drover db``: the only command that opens the database itself."""

from __future__ import annotations

import click

from drover.cli.options import Group
from drover.cli.session import Session, pass_session

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """The database's schema."""


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

"""The schema's revision: bringing it up to date, and waiting until somebody has.

Services only compare two words at their start, for which alembic need not be in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from drover import errors, retry
from drover.db.engine import Database
from drover.db.turn import Turn, take
from drover.runtime import Runtime

__all__ = [
    "check",
    "current_revision",
    "head_revision",
    "require",
    "revision_of",
    "upgrade",
    "wait_for_schema",
]

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> str:
    """Migrate to this release's revision and return it; does nothing when it is there.

    One transaction: it happens wholly or not at all. Of several at once, one migrates and the others find it done.
    """
    import alembic.command
    from alembic.config import Config

    with database.write() as connection:
        take(connection, Turn.SCHEMA)
        if connection.dialect.name == "postgresql":
            # Rewriting a large table may rightly take longer than a statement of the services.
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
    return head_revision()


def current_revision(database: Database) -> str | None:
    """The revision the database has; None when it is empty."""
    with database.read() as connection:
        return revision_of(connection)


def revision_of(connection: sa.Connection) -> str | None:
    """:func:`current_revision`, in the caller's transaction."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def head_revision() -> str:
    """The revision this release works with: the last of the files, which are named by their numbers."""
    return max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def check(database: Database) -> None:
    """:raises errors.SchemaMismatch: the database has another revision than this release needs."""
    require(current_revision(database))


def require(actual: str | None) -> None:
    """:raises errors.SchemaMismatch: this release needs another revision than *actual*."""
    expected = head_revision()
    if actual != expected:
        raise errors.SchemaMismatch(actual=actual or "none", expected=expected)


def wait_for_schema(database: Database, runtime: Runtime, stopped: Callable[[], bool]) -> None:
    """Wait until the database answers and has the revision of this release; says in the log what is missing.

    :raises errors.Unavailable: *stopped* said so before it was.
    """

    def try_once() -> None:
        try:
            check(database)
        except errors.SchemaMismatch as exc:
            raise errors.Unavailable(what="schema", detail=exc.message) from exc

    retry.until_available(runtime, "database", try_once, stopped=stopped)

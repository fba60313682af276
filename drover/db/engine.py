"""The database: transactions for writing, snapshots for reading, typed errors.

    with database.write() as connection:
        connection.execute(...)

Everything the libraries below raise leaves as :class:`drover.errors.StoreUnavailable`, ``StoreBusy``,
``StoreConflict`` or ``StatementRefused``, within the block and at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db import postgresql, sqlite
from drover.db.backend import Backend
from drover.db.failure import translate
from drover.runtime import Lock, Runtime

__all__ = ["Database", "insert_ignore"]


class Database:
    """One database of one process; used by all its tasks.

    :raises errors.InvalidConfig: the URL is none, or of another kind of database.
    :raises errors.DatabaseInUse: the SQLite file is open in another process.
    :raises errors.StoreUnavailable: the SQLite file cannot be made or opened. (A PostgreSQL server is first
        asked when it is first needed.)
    """

    def __init__(self, url: str, settings: DatabaseSettings, runtime: Runtime) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            # The text may hold a password, so it is not shown.
            raise errors.InvalidConfig(reason="[database] connection is no URL") from None
        self._lock_timeout_s = settings.lock_timeout_s
        self._closed = False
        self._backend = _open(parsed, settings, runtime)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._backend.writer.dialect.name

    @property
    def label(self) -> str:
        """The URL without its password, and without its options, which may hold others."""
        return self._backend.writer.url.set(query={}).render_as_string(hide_password=True)

    def write(self) -> AbstractContextManager[sa.Connection]:
        """One transaction: committed at the end of the block, rolled back when an exception leaves it.

        PostgreSQL: READ COMMITTED. SQLite: one writer at a time, BEGIN IMMEDIATE.

        :raises errors.StoreBusy: it lost against others; nothing was changed, and the same may be tried again.
        :raises errors.StoreUnavailable: no connection, or it broke. At the end of the block this says nothing
            about whether the transaction was committed.
        """
        return self._transaction(self._backend.writer, self._backend.write_gate)

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Reading only; a statement that writes is refused.

        PostgreSQL: each statement sees what was committed when it began, as it would under READ COMMITTED, but
        without the round trips of BEGIN and COMMIT. SQLite: one snapshot for the block.
        """
        return self._transaction(self._backend.reader, self._backend.read_gate)

    def close(self) -> None:
        """Close all connections and give the file free. Blocks that still run end first or fail; new ones are refused."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    @contextmanager
    def _transaction(self, engine: sa.Engine, gate: Lock | None) -> Iterator[sa.Connection]:
        if self._closed:
            raise errors.StoreUnavailable(detail="it was closed by this process")
        with nullcontext() if gate is None else self._held(gate):
            try:
                with engine.begin() as connection:
                    yield connection
            except sa.exc.SQLAlchemyError as exc:
                raise translate(exc) from exc

    @contextmanager
    def _held(self, gate: Lock) -> Iterator[None]:
        if not gate.acquire(self._lock_timeout_s):
            raise errors.StoreBusy(detail=f"another writer of this process holds it for {self._lock_timeout_s} s")
        try:
            yield
        finally:
            gate.release()


def _open(url: sa.URL, settings: DatabaseSettings, runtime: Runtime) -> Backend:
    match url.get_backend_name():
        case "postgresql":
            return postgresql.open_backend(url, settings)
        case "sqlite":
            return sqlite.open_backend(url, settings, runtime)
        case other:
            raise errors.InvalidConfig(reason=f"[database] connection: {other} is neither postgresql nor sqlite")


def insert_ignore(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """``INSERT … ON CONFLICT DO NOTHING`` into *table*; the result's ``rowcount`` tells how many rows went in."""
    insert = pg_dialect.insert if connection.dialect.name == "postgresql" else sqlite_dialect.insert
    return insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)

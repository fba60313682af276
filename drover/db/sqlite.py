"""SQLite by the standard library's driver: one process, many tasks, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, pool

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db.backend import Backend, guard
from drover.db.failure import translate
from drover.runtime import Runtime

__all__ = ["open_backend"]

#: isolation_level None keeps the driver from beginning transactions on its own; ``_on_begin`` does it
_CONNECT_ARGUMENTS: dict[str, Any] = {"check_same_thread": False, "isolation_level": None}


def open_backend(url: sa.URL, settings: DatabaseSettings, runtime: Runtime) -> Backend:
    """Open the file of *url* for this process alone, or a database in memory when it names none.

    :raises errors.DatabaseInUse: another process has the file.
    :raises errors.StoreUnavailable: the file cannot be made.
    """
    url = url.set(drivername="sqlite+pysqlite")
    if url.database in {None, "", ":memory:"}:
        return _in_memory(url, runtime)
    path = Path(str(url.database)).absolute()
    return _on_file(url.set(database=str(path)), path, settings, runtime)


def _on_file(url: sa.URL, path: Path, settings: DatabaseSettings, runtime: Runtime) -> Backend:
    release = _own(path)
    writer = _engine(url, poolclass=pool.QueuePool, pool_size=1, max_overflow=0)
    reader = _engine(
        url,
        poolclass=pool.QueuePool,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_s,
    )
    busy_timeout = f"busy_timeout = {round(settings.lock_timeout_s * 1000)}"
    durable = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", busy_timeout)
    _on_connect(writer, *durable)
    _on_connect(reader, *durable, "query_only = ON")
    # BEGIN alone takes the write lock at the first write, and a transaction that has read before then fails at
    # once with "database is locked", whatever the timeout.
    _on_begin(writer, "BEGIN IMMEDIATE")
    _on_begin(reader, "BEGIN")
    return Backend(writer=writer, reader=reader, write_gate=runtime.lock(), release=release)


def _in_memory(url: sa.URL, runtime: Runtime) -> Backend:
    """A writing and a reading connection to one database; one gate admits one transaction of either kind.

    (Flipping ``query_only`` on a single connection would throw away its prepared statements each time.)
    """
    gate = runtime.lock()
    # No runtime's uuid: two that were seeded alike would share one database.
    place = f"file:drover-{id(gate)}?mode=memory&cache=shared"
    keeper, onlooker = (sqlite3.connect(place, uri=True, **_CONNECT_ARGUMENTS) for _ in range(2))
    keeper.execute("PRAGMA foreign_keys = ON")
    onlooker.execute("PRAGMA query_only = ON")
    writer = _engine(url, poolclass=pool.StaticPool, creator=lambda: keeper)
    reader = _engine(url, poolclass=pool.StaticPool, creator=lambda: onlooker)
    _on_begin(writer, "BEGIN IMMEDIATE")
    _on_begin(reader, "BEGIN")

    def release() -> None:
        keeper.close()
        onlooker.close()

    return Backend(writer=writer, reader=reader, write_gate=gate, read_gate=gate, release=release)


def _engine(url: sa.URL, **options: Any) -> sa.Engine:
    return guard(sa.create_engine(url, connect_args=_CONNECT_ARGUMENTS, hide_parameters=True, **options))


def _on_connect(engine: sa.Engine, *pragmas: str) -> None:
    def prepare(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", prepare)


def _on_begin(engine: sa.Engine, *statements: str) -> None:
    def begin(connection: sa.Connection) -> None:
        # Straight to the driver: SQLAlchemy's path costs 40 µs a statement, this one 2.
        driver: Any = connection.connection.dbapi_connection
        try:
            for statement in statements:
                driver.execute(statement)
        except sqlite3.Error as exc:
            raise translate(exc) from exc

    event.listen(engine, "begin", begin)


def _own(path: Path) -> Callable[[], None]:
    """Make *path* (mode 0600) and lock it for this process; returns what gives it free.

    The lock is on a file beside it: POSIX locks of SQLite on the database itself would fall whenever any
    descriptor of it is closed. The kernel drops it with the process, so a kill leaves nothing stale.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        held = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise errors.StoreUnavailable(detail=str(exc)) from exc
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except BlockingIOError:
        os.close(held)
        raise errors.DatabaseInUse(path=str(path)) from None
    except OSError as exc:
        os.close(held)
        raise errors.StoreUnavailable(detail=str(exc)) from exc
    return lambda: os.close(held)

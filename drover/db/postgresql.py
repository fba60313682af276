"""PostgreSQL by psycopg."""

from __future__ import annotations

import select
from typing import Any

import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy import event

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db.backend import Backend, guard

__all__ = ["open_backend"]


def open_backend(url: sa.URL, settings: DatabaseSettings) -> Backend:
    """Engines for *url*; no connection is made yet."""
    url = url.set(drivername="postgresql+psycopg")
    return Backend(
        writer=_engine(url, settings, isolation_level="READ COMMITTED", read_only=False),
        reader=_engine(url, settings, isolation_level="AUTOCOMMIT", read_only=True),
    )


def _engine(url: sa.URL, settings: DatabaseSettings, *, isolation_level: str, read_only: bool) -> sa.Engine:
    engine = sa.create_engine(
        url,
        isolation_level=isolation_level,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout_s,
        hide_parameters=True,  # they may be secrets, and errors end up in logs
        pool_use_lifo=True,  # a quiet process works on one warm connection
        connect_args=_connect_arguments(settings, read_only=read_only),
    )
    event.listen(engine, "checkout", _refuse_dead)
    event.listen(engine, "commit", _refuse_failed)
    return guard(engine)


def _connect_arguments(settings: DatabaseSettings, *, read_only: bool) -> dict[str, Any]:
    """libpq's parameters: bounds on every wait, on both sides of the connection."""
    server = {
        "statement_timeout": _ms(settings.statement_timeout_s),
        "lock_timeout": _ms(settings.lock_timeout_s),
        "idle_in_transaction_session_timeout": _ms(settings.idle_transaction_timeout_s),
        "default_transaction_read_only": "on" if read_only else "off",
    }
    probe_s = max(1, settings.silence_timeout_s // 4)
    return {
        "application_name": "drover",
        "connect_timeout": settings.connect_timeout_s,
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
        # A peer that is gone is noticed while we wait for its answer (keepalives) and while we send (user timeout).
        "keepalives": 1,
        "keepalives_idle": probe_s,
        "keepalives_interval": probe_s,
        "keepalives_count": 3,
        "tcp_user_timeout": settings.silence_timeout_s * 1000,
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Discard pooled connections that the server has closed, before a transaction trips over one.

    An idle connection with something to read has got its end-of-file or a farewell (restart, kill, idle
    limit). One poll of the socket costs 2 µs where a ping costs a round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise sa.exc.InvalidatePoolError


def _refuse_failed(connection: sa.Connection) -> None:
    """The server answers COMMIT of a failed transaction with a rollback and no error: nobody may take that for done."""
    driver: Any = connection.connection.dbapi_connection
    if driver.pgconn.transaction_status == TransactionStatus.INERROR:
        raise errors.StatementRefused(detail="a statement failed and its error was swallowed; use begin_nested()")

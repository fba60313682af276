"""The one door out of the store for errors: what SQLAlchemy, psycopg and sqlite3 raise becomes drover.errors."""

from __future__ import annotations

import sqlite3

import psycopg
import sqlalchemy.exc as sa

from drover import errors
from drover.db.schema import metadata

__all__ = ["translate"]

#: SQLSTATE of transactions that lost against others; the server rolled them back (PostgreSQL, appendix A)
_BUSY = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock_timeout
        "57014",  # statement_timeout
    }
)
#: classes of SQLSTATE that say the server cannot serve now: connection, resources, intervention, system, internal
_UNAVAILABLE = ("08", "53", "57", "58", "XX", "28", "3D")
#: class 25 is about transaction state; this one is the server closing a transaction that idled too long
_IDLE_TOO_LONG = "25P03"

_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }
)


def translate(error: BaseException) -> errors.DroverError:
    """The typed error for anything the libraries below raise."""
    if isinstance(error, sa.DBAPIError) and error.orig is not None:
        return translate(error.orig)
    if isinstance(error, psycopg.Error):
        return _from_psycopg(error)
    if isinstance(error, sqlite3.Error):
        return _from_sqlite(error)
    if isinstance(error, sa.TimeoutError):
        return errors.StoreBusy(detail=_one_line(error))
    if isinstance(error, sa.PendingRollbackError):
        return errors.StoreUnavailable(detail="the connection was lost within the transaction")
    if isinstance(error, (UnicodeError, OverflowError)):  # of a driver that cannot even send it
        return errors.ValueRefused(detail=_one_line(error))
    return errors.StatementRefused(detail=_one_line(error))


def _from_psycopg(error: psycopg.Error) -> errors.DroverError:
    # Only the first of the server's lines: its DETAIL shows the row, which may hold secrets.
    detail = error.diag.message_primary or _one_line(error)
    state = error.sqlstate or ""
    if isinstance(error, psycopg.IntegrityError):
        return errors.StoreConflict(constraint=error.diag.constraint_name or "", detail=detail)
    if isinstance(error, psycopg.DataError):
        return errors.ValueRefused(detail=detail)
    if state in _BUSY:
        return errors.StoreBusy(detail=detail)
    if state == _IDLE_TOO_LONG or state.startswith(_UNAVAILABLE):
        return errors.StoreUnavailable(detail=detail)
    # Without a state the error is libpq's own: no server, a name that does not resolve, a connection cut.
    if not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return errors.StoreUnavailable(detail=detail)
    return errors.StatementRefused(detail=detail)


def _from_sqlite(error: sqlite3.Error) -> errors.DroverError:
    detail = _one_line(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if isinstance(error, sqlite3.IntegrityError):
        return errors.StoreConflict(constraint=_sqlite_constraint(str(error)), detail=detail)
    if code in _SQLITE_BUSY:
        return errors.StoreBusy(detail=detail)
    if code in _SQLITE_UNAVAILABLE:
        return errors.StoreUnavailable(detail=detail)
    return errors.StatementRefused(detail=detail)


def _sqlite_constraint(message: str) -> str:
    """The constraint's name. SQLite tells columns for keys ("UNIQUE constraint failed: port.network_id, port.offset")."""
    kind, _, what = message.partition(" constraint failed: ")
    if kind == "CHECK":
        return what
    if kind != "UNIQUE":
        return ""
    columns = [column.partition(".") for column in what.split(", ")]
    table, names = columns[0][0], [name for _, _, name in columns]
    known = metadata.tables.get(table)
    if known is not None and names == [column.name for column in known.primary_key]:
        return f"pk_{table}"
    return f"uq_{table}_{'_'.join(names)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

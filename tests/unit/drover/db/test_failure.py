from __future__ import annotations

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from drover import errors
from drover.db.failure import translate


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", errors.StoreBusy),  # serialization failure
        ("40P01", errors.StoreBusy),  # deadlock
        ("55P03", errors.StoreBusy),  # lock timeout
        ("57014", errors.StoreBusy),  # statement timeout
        ("57P01", errors.StoreUnavailable),  # administrator's shutdown
        ("57P03", errors.StoreUnavailable),  # starting up
        ("53300", errors.StoreUnavailable),  # too many connections
        ("53100", errors.StoreUnavailable),  # disk full
        ("58030", errors.StoreUnavailable),  # I/O error
        ("25P03", errors.StoreUnavailable),  # idle in transaction too long
        ("28P01", errors.StoreUnavailable),  # wrong password
        ("3D000", errors.StoreUnavailable),  # no such database yet
        ("42P01", errors.StatementRefused),  # no such table
        ("42601", errors.StatementRefused),  # syntax
        ("25006", errors.StatementRefused),  # writing in a read-only transaction
        ("22001", errors.ValueRefused),  # text too long
        ("22003", errors.ValueRefused),  # number out of range
        ("23505", errors.StoreConflict),  # unique violation
        ("23503", errors.StoreConflict),  # foreign key violation
    ],
)
def test_states_of_postgresql(state: str, kind: type[errors.DroverError]) -> None:
    assert type(translate(psycopg.errors.lookup(state)("words"))) is kind


def test_a_connection_lost_has_no_state() -> None:
    lost = translate(psycopg.OperationalError("server closed the connection\nunexpectedly"))
    assert type(lost) is errors.StoreUnavailable
    assert lost.message == "database unavailable: server closed the connection unexpectedly"


@pytest.mark.parametrize(
    "error",
    [
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        OverflowError("Python int too large to convert to SQLite INTEGER"),
    ],
)
def test_what_a_driver_cannot_even_send_is_the_callers_value(error: Exception) -> None:
    refused = translate(error)
    assert type(refused) is errors.ValueRefused
    assert not refused.retryable


def sqlite(code: int, message: str = "words") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, errors.StoreBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, errors.StoreBusy),  # an extended code
        (sqlite3.SQLITE_LOCKED, errors.StoreBusy),
        (sqlite3.SQLITE_IOERR_FSYNC, errors.StoreUnavailable),
        (sqlite3.SQLITE_FULL, errors.StoreUnavailable),
        (sqlite3.SQLITE_CORRUPT, errors.StoreUnavailable),
        (sqlite3.SQLITE_ERROR, errors.StatementRefused),
    ],
)
def test_codes_of_sqlite(code: int, kind: type[errors.DroverError]) -> None:
    assert type(translate(sqlite(code))) is kind


@pytest.mark.parametrize(
    ("message", "constraint"),
    [
        ("UNIQUE constraint failed: flavor.name", "uq_flavor_name"),
        ("UNIQUE constraint failed: port.network_id, port.offset", "uq_port_network_id_offset"),
        ("UNIQUE constraint failed: alarm.kind, alarm.subject", "pk_alarm"),
        ("CHECK constraint failed: ck_host_capacity_used_not_negative", "ck_host_capacity_used_not_negative"),
        ("FOREIGN KEY constraint failed", ""),
        ("NOT NULL constraint failed: flavor.name", ""),
    ],
)
def test_sqlite_conflicts_get_the_names_that_postgresql_tells(message: str, constraint: str) -> None:
    conflict = translate(sqlite3.IntegrityError(message))
    assert type(conflict) is errors.StoreConflict
    assert conflict.kwargs["constraint"] == constraint


def test_errors_of_sqlalchemy_itself() -> None:
    assert type(translate(sa.exc.TimeoutError("QueuePool limit"))) is errors.StoreBusy
    assert type(translate(sa.exc.PendingRollbackError("invalid transaction"))) is errors.StoreUnavailable
    assert type(translate(sa.exc.NoResultFound("no row"))) is errors.StatementRefused
    wrapped = sa.exc.DBAPIError("SELECT :secret", {"secret": "hush"}, sqlite(sqlite3.SQLITE_BUSY))
    assert type(translate(wrapped)) is errors.StoreBusy
    assert "hush" not in translate(wrapped).message


def test_all_are_kinds_that_callers_handle() -> None:
    assert issubclass(errors.StoreBusy, errors.Unavailable)
    assert issubclass(errors.StoreUnavailable, errors.Unavailable)
    assert errors.StoreBusy.retryable
    assert not errors.StatementRefused.retryable

"""A PostgreSQL that is killed, stopped and started under one Database object."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db import migration, schema
from drover.db.engine import Database
from drover.lab.postgres import PrivatePostgres
from drover.runtime.threads import ThreadRuntime
from tests.postgres import started_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    with started_postgres(durable=True) as server:
        yield server


@pytest.fixture
def database(server: PrivatePostgres) -> Iterator[Database]:
    server.start()
    database = Database(server.url, DatabaseSettings(), ThreadRuntime())
    migration.upgrade(database)
    with database.write() as connection:
        connection.execute(sa.delete(schema.alarm))
    yield database
    database.close()


def write(database: Database, subject: str) -> None:
    with database.write() as connection:
        connection.execute(schema.alarm.insert(), {"kind": "k", "subject": subject, "detail": "", "at": ""})


def subjects(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(schema.alarm.c.subject).order_by(schema.alarm.c.subject)).scalars())


def test_killed_and_started_again(server: PrivatePostgres, database: Database) -> None:
    write(database, "a")
    assert subjects(database) == ["a"]
    server.kill9()
    assert server.pid() is None
    for _ in range(2):
        with pytest.raises(errors.StoreUnavailable):
            write(database, "lost")
        with pytest.raises(errors.StoreUnavailable):
            subjects(database)
    server.start()
    write(database, "b")
    assert subjects(database) == ["a", "b"]


def test_no_transaction_fails_when_the_server_was_away_between_them(
    server: PrivatePostgres, database: Database
) -> None:
    """Every pooled connection is dead, and no transaction gets one of them."""
    together = threading.Barrier(4)

    def warm() -> None:
        with database.write() as connection, database.read() as reader:
            connection.execute(sa.text("SELECT 1"))
            reader.execute(sa.text("SELECT 1"))
            together.wait()

    threads = [threading.Thread(target=warm) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.kill9()
    server.start()
    for number in range(6):
        write(database, str(number))
        assert len(subjects(database)) == number + 1


def test_killed_within_a_transaction(server: PrivatePostgres, database: Database) -> None:
    with pytest.raises(errors.StoreUnavailable), database.write() as connection:
        insert = schema.alarm.insert()
        connection.execute(insert, {"kind": "k", "subject": "half", "detail": "", "at": ""})
        server.kill9()
        with pytest.raises(errors.StoreUnavailable):
            connection.execute(insert, {"kind": "k", "subject": "done", "detail": "", "at": ""})
        # Whoever swallows the error still cannot commit the half.
    server.start()
    assert subjects(database) == []


def test_killed_before_the_commit(server: PrivatePostgres, database: Database) -> None:
    with pytest.raises(errors.StoreUnavailable), database.write() as connection:
        connection.execute(schema.alarm.insert(), {"kind": "k", "subject": "half", "detail": "", "at": ""})
        server.kill9()
    server.start()
    assert subjects(database) == []


def test_one_backend_ended_by_an_operator(database: Database) -> None:
    with pytest.raises(errors.StoreUnavailable), database.write() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with database.read() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        connection.execute(sa.text("SELECT 1"))
    write(database, "next")
    assert subjects(database) == ["next"]


def test_postmaster_alone_killed_then_started(server: PrivatePostgres, database: Database) -> None:
    """What ``kill -9`` of the pid in postmaster.pid does: backends outlive it for a moment."""
    pid = server.pid()
    assert pid is not None
    write(database, "a")
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([handle], [], [], 60)[0]  # it is dead
    os.close(handle)
    server.start()
    assert server.pid() != pid
    write(database, "b")
    assert subjects(database) == ["a", "b"]


def test_committed_rows_survive_kills_among_writers(server: PrivatePostgres, database: Database) -> None:
    committed: list[str] = []
    stop = threading.Event()
    enough = threading.Semaphore(0)

    def work(number: int) -> None:
        step = 0
        while not stop.is_set():
            step += 1
            try:
                write(database, f"{number}.{step}")
            except errors.StoreUnavailable:
                continue
            committed.append(f"{number}.{step}")
            enough.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        for _ in range(20):
            assert enough.acquire(timeout=60)
        server.kill9()
        server.start()
        while enough.acquire(blocking=False):
            pass
    for _ in range(20):
        assert enough.acquire(timeout=60)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(committed) <= set(subjects(database))


def test_stopping_leaves_nothing(server: PrivatePostgres, database: Database) -> None:
    def segments() -> set[str]:
        lines = subprocess.run(["ipcs", "-m"], capture_output=True, text=True, check=True).stdout.splitlines()
        return {line.split()[1] for line in lines if line.startswith("0x")}

    running = segments()
    server.kill9()
    assert segments() == running  # the kernel keeps them
    server.stop()
    assert len(running - segments()) == 1
    assert server.pid() is None
    assert server._processes() == []
    server.stop()
    server.start()


def test_a_server_that_cannot_start_says_why(server: PrivatePostgres) -> None:
    blocked = PrivatePostgres(server.log_file.parent / "second", port=server._port)
    with pytest.raises(errors.Unavailable, match="Address already in use"):
        blocked.start()
    blocked.stop()

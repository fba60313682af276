from __future__ import annotations

import select
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db import schema
from drover.db.engine import Database, insert_ignore
from drover.lab.postgres import PrivatePostgres
from drover.runtime.threads import ThreadRuntime

ALARM = {"kind": "k", "subject": "s", "detail": "", "at": ""}


def count(db: Database) -> int:
    with db.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(schema.alarm)).scalar_one()


def test_write_commits_at_the_end_of_the_block(db: Database) -> None:
    with db.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
    assert count(db) == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", [errors.NoAddresses, Killed])
def test_an_exception_out_of_the_block_rolls_back_and_passes_through(db: Database, kind: type[BaseException]) -> None:
    with pytest.raises(kind), db.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
        raise kind
    assert count(db) == 0
    with db.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
    assert count(db) == 1


def test_conflict_is_typed_where_it_happens_and_names_the_constraint(db: Database) -> None:
    with pytest.raises(errors.StoreConflict), db.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
        with pytest.raises(errors.StoreConflict) as caught:
            connection.execute(schema.alarm.insert(), ALARM)
        assert caught.value.kwargs["constraint"] == "pk_alarm"
        raise caught.value
    assert count(db) == 0


def test_conflict_in_a_savepoint_leaves_the_rest_of_the_transaction_whole(db: Database) -> None:
    with db.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
        with pytest.raises(errors.StoreConflict), connection.begin_nested():
            connection.execute(schema.alarm.insert(), ALARM)
        connection.execute(schema.alarm.insert(), ALARM | {"subject": "t"})
    assert count(db) == 2


def test_an_error_swallowed_without_a_savepoint_is_no_silent_rollback(pg: Database) -> None:
    with pytest.raises(errors.StatementRefused, match="swallowed"), pg.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
        with pytest.raises(errors.StoreConflict):
            connection.execute(schema.alarm.insert(), ALARM)
    assert count(pg) == 0


def test_unique_check_and_foreign_key_conflicts(db: Database) -> None:
    flavor = {"id": "1", "name": "n", "vcpus": 1, "memory_mib": 1, "disk_gib": 1, "extra_specs": "{}", "created_at": ""}
    with db.write() as connection:
        connection.execute(schema.flavor.insert(), flavor)
    with pytest.raises(errors.StoreConflict) as caught, db.write() as connection:
        connection.execute(schema.flavor.insert(), flavor | {"id": "2"})
    assert caught.value.kwargs["constraint"] == "uq_flavor_name"
    port = {"id": "1", "instance_uuid": "", "network_id": "none", "offset": 1, "mac": "", "ip": "", "position": 0}
    with pytest.raises(errors.StoreConflict), db.write() as connection:
        connection.execute(schema.port.insert(), port)


def test_insert_ignore_tells_how_many_went_in(db: Database) -> None:
    with db.write() as connection:
        assert connection.execute(insert_ignore(connection, schema.alarm), ALARM).rowcount == 1
        assert connection.execute(insert_ignore(connection, schema.alarm), ALARM).rowcount == 0
        both = [ALARM, ALARM | {"subject": "t"}]
        assert connection.execute(insert_ignore(connection, schema.alarm), both).rowcount == 1
    assert count(db) == 2


def test_read_refuses_to_write(db: Database) -> None:
    with pytest.raises(errors.StatementRefused), db.read() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
    assert count(db) == 0


def test_a_statement_the_database_does_not_know_is_refused_not_retried(db: Database) -> None:
    with pytest.raises(errors.StatementRefused) as caught, db.read() as connection:
        connection.execute(sa.text("SELECT 1 FROM no_such_table"))
    assert not caught.value.retryable
    assert "no_such_table" in caught.value.message


def test_parameters_never_show_in_errors(db: Database) -> None:
    with pytest.raises(errors.StoreConflict) as caught, db.write() as connection:
        for _ in range(2):
            connection.execute(schema.alarm.insert(), ALARM | {"kind": "hush-hush"})
    shown = caught.value.message + repr(caught.value.kwargs)
    assert "hush-hush" not in shown


def test_closed_database_refuses(runtime: ThreadRuntime) -> None:
    database = Database("sqlite://", DatabaseSettings(), runtime)
    database.close()
    with pytest.raises(errors.StoreUnavailable), database.write():
        pass


def test_many_tasks_write_and_read_at_once(db: Database) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                with db.write() as connection:
                    connection.execute(schema.alarm.insert(), ALARM | {"subject": f"{number}.{step}"})
                count(db)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert count(db) == 60


def test_sqlite_writer_that_waits_too_long_is_busy(runtime: ThreadRuntime, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db", DatabaseSettings(lock_timeout_s=0.1), runtime)
    with database.write():
        with pytest.raises(errors.StoreBusy), database.write():
            pass
        with database.read() as reader:  # a reader never waits for the writer
            assert reader.execute(sa.text("SELECT 1")).scalar_one() == 1
    database.close()


def test_sqlite_file_is_private_and_belongs_to_one_process(runtime: ThreadRuntime, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    url = f"sqlite:///{path}"
    database = Database(url, DatabaseSettings(), runtime)
    with database.write() as connection:
        schema.metadata.create_all(connection)
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with pytest.raises(errors.DatabaseInUse):
        Database(url, DatabaseSettings(), runtime)
    database.close()
    Database(url, DatabaseSettings(), runtime).close()


def test_sqlite_in_a_folder_that_does_not_exist(runtime: ThreadRuntime, tmp_path: Path) -> None:
    with pytest.raises(errors.StoreUnavailable):
        Database(f"sqlite:///{tmp_path}/none/a.db", DatabaseSettings(), runtime)


def test_file_that_is_no_database(runtime: ThreadRuntime, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"something else entirely " * 100)
    database = Database(f"sqlite:///{tmp_path}/a.db", DatabaseSettings(), runtime)
    with pytest.raises(errors.StoreUnavailable), database.read():
        pass
    database.close()


@pytest.mark.parametrize("url", ["hush nonsense", "mysql://root:hush@localhost/x"])
def test_bad_urls_are_refused_without_showing_passwords(runtime: ThreadRuntime, url: str) -> None:
    with pytest.raises(errors.InvalidConfig) as caught:
        Database(url, DatabaseSettings(), runtime)
    assert "hush" not in caught.value.message


def test_postgresql_sessions_have_bounds(pg: Database) -> None:
    with pg.write() as connection:
        shown = {
            name: connection.execute(sa.text(f"SHOW {name}")).scalar()
            for name in (
                "transaction_isolation",
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
            )
        }
    assert shown == {
        "transaction_isolation": "read committed",
        "statement_timeout": "15s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
    }


def test_deadlock_is_busy_and_one_of_two_wins(pg: Database) -> None:
    with pg.write() as connection:
        connection.execute(schema.alarm.insert(), [ALARM, ALARM | {"subject": "t"}])
    both_hold = threading.Barrier(2)
    outcomes: list[object] = []

    def work(first: str, second: str) -> None:
        try:
            with pg.write() as connection:
                update = schema.alarm.update().values(detail=first)
                connection.execute(update.where(schema.alarm.c.subject == first))
                both_hold.wait()
                connection.execute(update.where(schema.alarm.c.subject == second))
            outcomes.append("won")
        except Exception as exc:
            outcomes.append(type(exc))

    threads = [threading.Thread(target=work, args=pair) for pair in (("s", "t"), ("t", "s"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == sorted([errors.StoreBusy, "won"], key=str)


def test_all_connections_taken_is_busy(runtime: ThreadRuntime, pg: Database) -> None:
    url = pg._backend.writer.url.render_as_string(hide_password=False)
    small = Database(url, DatabaseSettings(pool_size=1, pool_timeout_s=0.1), runtime)
    with small.write() as connection:
        connection.execute(sa.text("SELECT 1"))
        with pytest.raises(errors.StoreBusy), small.write():
            pass
    small.close()


def test_a_statement_over_its_time_is_busy(runtime: ThreadRuntime, postgres: PrivatePostgres) -> None:
    impatient = Database(postgres.url, DatabaseSettings(statement_timeout_s=0.1), runtime)
    with pytest.raises(errors.StoreBusy, match="statement timeout"), impatient.write() as connection:
        connection.execute(sa.text("SELECT pg_sleep(60)"))
    with pytest.raises(errors.StoreBusy, match="statement timeout"), impatient.read() as connection:
        connection.execute(sa.text("SELECT pg_sleep(60)"))
    impatient.close()


def test_waiting_too_long_for_a_row_is_busy(runtime: ThreadRuntime, pg: Database, postgres: PrivatePostgres) -> None:
    with pg.write() as connection:
        connection.execute(schema.alarm.insert(), ALARM)
    impatient = Database(postgres.url, DatabaseSettings(lock_timeout_s=0.1), runtime)
    with pg.write() as holder:
        holder.execute(schema.alarm.update().values(detail="held"))
        with pytest.raises(errors.StoreBusy, match="lock timeout"), impatient.write() as connection:
            connection.execute(schema.alarm.delete())
    impatient.close()
    assert count(pg) == 1


def test_a_transaction_left_idle_is_ended_by_the_server(runtime: ThreadRuntime, postgres: PrivatePostgres) -> None:
    """A paused conductor must not keep its locks; when it goes on, it finds its transaction gone."""
    paused = Database(postgres.url, DatabaseSettings(idle_transaction_timeout_s=1.0), runtime)
    with pytest.raises(errors.StoreUnavailable), paused.write() as connection:
        connection.execute(sa.text("SELECT 1"))
        driver: Any = connection.connection.dbapi_connection
        assert select.select([driver.fileno()], [], [], 60)[0]  # the server's farewell
        connection.execute(sa.text("SELECT 1"))
    with paused.write() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
    paused.close()


def test_two_databases_in_memory_share_nothing_also_under_equal_seeds() -> None:
    first, second = (Database("sqlite://", DatabaseSettings(), ThreadRuntime(seed=1)) for _ in range(2))
    with first.write() as conn:
        schema.metadata.create_all(conn)
    with second.read() as conn:
        assert sa.inspect(conn).get_table_names() == []
    first.close()
    second.close()

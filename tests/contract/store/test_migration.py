from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from drover import errors
from drover.db import deployment, migration, schema
from drover.db.engine import Database
from drover.runtime.threads import ThreadRuntime

EmptyDatabase = Callable[[str, str], Database]

DIALECTS = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])


def shape(database: Database) -> dict[str, Any]:
    """Everything the database says of its tables but for the revision's own."""
    found: dict[str, Any] = {}
    with database.read() as connection:
        inspector = sa.inspect(connection)
        for table in inspector.get_table_names():
            if table == "alembic_version":
                continue
            found[table] = {
                "columns": [
                    (c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)
                ],
                "primary key": inspector.get_pk_constraint(table),
                "unique": sorted(inspector.get_unique_constraints(table), key=str),
                "foreign keys": sorted(inspector.get_foreign_keys(table), key=str),
                "checks": sorted(inspector.get_check_constraints(table), key=str),
                "indexes": [_comparable(index) for index in sorted(inspector.get_indexes(table), key=str)],
            }
    return found


def _comparable(index: Any) -> dict[str, Any]:
    """SQL expressions are equal when their text is."""
    return {**index, "dialect_options": {name: str(value) for name, value in index["dialect_options"].items()}}


@DIALECTS
def test_migrations_make_the_schema_of_this_release(empty_database: EmptyDatabase, dialect: str) -> None:
    migrated, created = empty_database(dialect, "migrated"), empty_database(dialect, "created")
    migration.upgrade(migrated)
    with created.write() as connection:
        schema.metadata.create_all(connection)
    with migrated.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    assert shape(migrated) == shape(created)
    assert len(shape(migrated)) == len(schema.metadata.tables)


@DIALECTS
def test_upgrade_goes_to_head_once_and_keeps_rows(empty_database: EmptyDatabase, dialect: str) -> None:
    database = empty_database(dialect, "again")
    assert migration.current_revision(database) is None
    assert migration.upgrade(database) == migration.head_revision() == migration.current_revision(database)
    with database.write() as connection:
        connection.execute(schema.alarm.insert(), {"kind": "k", "subject": "s", "detail": "", "at": ""})
    migration.upgrade(database)
    with database.read() as connection:
        assert len(connection.execute(sa.select(schema.alarm)).all()) == 1


@DIALECTS
def test_check_names_both_revisions(empty_database: EmptyDatabase, dialect: str) -> None:
    database = empty_database(dialect, "checked")
    with pytest.raises(errors.SchemaMismatch) as caught:
        migration.check(database)
    assert caught.value.kwargs == {"actual": "none", "expected": migration.head_revision()}
    migration.upgrade(database)
    migration.check(database)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(errors.SchemaMismatch) as caught:
        migration.check(database)
    assert caught.value.kwargs["actual"] == "9999"


def test_several_upgrades_at_once_leave_one_schema(empty_database: EmptyDatabase) -> None:
    database = empty_database("postgresql", "together")
    outcomes: list[str] = []

    def work() -> None:
        try:
            outcomes.append(migration.upgrade(database))
        except errors.StoreBusy:  # a slow machine; nothing was changed
            outcomes.append("busy")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert set(outcomes) <= {migration.head_revision(), "busy"}
    migration.check(database)


class Sleepless(ThreadRuntime):
    """Sleeping does what the test wants to happen meanwhile."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        self._meanwhile()


@DIALECTS
def test_waiting_ends_when_somebody_has_migrated(empty_database: EmptyDatabase, dialect: str) -> None:
    database = empty_database(dialect, "awaited")
    asleep = Sleepless(lambda: migration.upgrade(database))
    migration.wait_for_schema(database, asleep, lambda: False)
    migration.check(database)


def test_waiting_ends_when_the_service_stops(empty_database: EmptyDatabase) -> None:
    database = empty_database("sqlite", "stopped")
    with pytest.raises(errors.Unavailable, match="drover db upgrade"):
        migration.wait_for_schema(database, ThreadRuntime(), lambda: True)


def test_the_deployment_is_made_once(db: Database, runtime: ThreadRuntime) -> None:
    with pytest.raises(errors.NotFound), db.read() as connection:
        deployment.get(connection)
    made = deployment.ensure_deployment(db, runtime)
    assert deployment.ensure_deployment(db, runtime) == made
    with db.read() as connection:
        assert deployment.get(connection) == made
    assert len(bytes.fromhex(made.depot_key)) == 32
    assert made.depot_key not in repr(made)


def test_the_deployment_is_made_once_by_many(pg: Database, runtime: ThreadRuntime) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(deployment.ensure_deployment(pg, runtime).id)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1

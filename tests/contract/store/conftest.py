"""The store on every database it knows: ``db`` runs a test on each, ``pg`` on PostgreSQL alone (for races).

Every test gets empty tables of the present schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from drover.conf.database import DatabaseSettings
from drover.db import migration, schema
from drover.db.engine import Database
from drover.lab.postgres import PrivatePostgres
from drover.runtime.threads import ThreadRuntime
from tests.postgres import started_postgres

SETTINGS = DatabaseSettings(pool_size=10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    with started_postgres(durable=False) as server:
        yield server


@pytest.fixture
def runtime() -> ThreadRuntime:
    return ThreadRuntime()


@pytest.fixture(scope="session")
def migrated(postgres: PrivatePostgres) -> Iterator[Database]:
    database = Database(postgres.url, SETTINGS, ThreadRuntime())
    migration.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def pg(migrated: Database) -> Database:
    """PostgreSQL with empty tables."""
    with migrated.write() as connection:
        tables = ", ".join(f'"{name}"' for name in schema.metadata.tables)
        connection.execute(sa.text(f"TRUNCATE {tables}"))
    return migrated


@pytest.fixture(params=["sqlite", "sqlite-file", "postgresql"])
def db(request: pytest.FixtureRequest, tmp_path: Path, runtime: ThreadRuntime) -> Iterator[Database]:
    """Each database with empty tables."""
    if request.param == "postgresql":
        yield request.getfixturevalue("pg")
        return
    url = "sqlite://" if request.param == "sqlite" else f"sqlite:///{tmp_path}/drover.db"
    database = Database(url, SETTINGS, runtime)
    with database.write() as connection:
        schema.metadata.create_all(connection)  # what the migrations make; test_migration.py proves it
    yield database
    database.close()


@pytest.fixture
def empty_database(
    request: pytest.FixtureRequest, tmp_path: Path, runtime: ThreadRuntime
) -> Iterator[Callable[[str, str], Database]]:
    """Makes databases without any table: ``empty_database(dialect, name)``."""
    opened: list[Database] = []

    def make(dialect: str, name: str) -> Database:
        url = f"sqlite:///{tmp_path}/{name}.db"
        if dialect == "postgresql":
            server: PrivatePostgres = request.getfixturevalue("postgres")
            admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT")
            with admin.connect() as connection:
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
                connection.execute(sa.text(f"CREATE DATABASE {name}"))
            admin.dispose()
            url = server.url.removesuffix("/drover") + f"/{name}"
        opened.append(Database(url, SETTINGS, runtime))
        return opened[-1]

    yield make
    for database in opened:
        database.close()

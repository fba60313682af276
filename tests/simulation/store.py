"""The fleet's database, and each process's way to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db import image
from drover.db.engine import Database
from drover.db.schema import metadata
from drover.objects.catalog import ImageStatus
from drover.runtime.threads import ThreadRuntime
from tests.simulation.kernel import Kernel
from tests.simulation.plan import Fate
from tests.simulation.weather import Weather

__all__ = ["Copy", "Link", "Store"]

#: all rows by table
Copy = Mapping[str, Sequence[Mapping[str, Any]]]


class Store:
    """A database in memory. One serves many trials after each other: statements are compiled once."""

    def __init__(self) -> None:
        # Transactions never overlap here (a wait inside one is refused), so the gate is never contended.
        self.database = Database("sqlite://", DatabaseSettings(), ThreadRuntime(seed=1))
        with self.database.write() as conn:
            metadata.create_all(conn)
        with self.database.read() as conn:
            self._raw = cast("sqlite3.Connection", conn.connection.dbapi_connection)

    def clear(self) -> None:
        """An empty database again."""
        self.put({})

    def rows(self, query: str, *values: object) -> list[Any]:
        """Look from outside, past everything that the code under test uses."""
        return self._raw.execute(query, values).fetchall()

    def arrive(self, image_id: str) -> None:
        """The depot has all bytes of an image and has checked them.

        :raises errors.ImageNotFound: nobody waits for it any more.
        """
        with self.database.write() as conn:
            image.activate(conn, image_id, size_bytes=1 << 20, virtual_size_bytes=1 << 20, sha256="0" * 64)
            if image.statuses(conn, [image_id]).get(image_id) is not ImageStatus.ACTIVE:
                raise errors.ImageNotFound(ref=image_id)

    def copy(self) -> Copy:
        """A backup."""
        with self.database.read() as conn:
            return {
                table.name: [dict(row._mapping) for row in conn.execute(sa.select(table))]
                for table in metadata.sorted_tables
            }

    def put(self, copy: Copy) -> None:
        """Restore a backup."""
        with self.database.write() as conn:
            for table in reversed(metadata.sorted_tables):
                conn.execute(table.delete())
            for table in metadata.sorted_tables:
                if rows := copy.get(table.name):
                    conn.execute(table.insert(), rows)

    def close(self) -> None:
        self.database.close()


class Link(Database):
    """The database as one simulated process has it: transactions are switch points, and may fail.

    :param committed: called after each commit.
    """

    def __init__(
        self, store: Store, kernel: Kernel, weather: Weather, process: str, committed: Callable[[], None]
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._weather = weather
        self._process = process
        self._committed = committed

    @property
    def dialect(self) -> str:
        return self._store.database.dialect

    @property
    def label(self) -> str:
        return "simulated"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        mishap = self._weather.transaction(self._process, "write")
        with self._atomic(), self._store.database.write() as conn:
            yield conn
            if mishap is not None and mishap.fate is Fate.BUSY:
                raise errors.StoreBusy(detail="a simulated deadlock")
        self._committed()
        self._weather.after(self._process, mishap)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self._weather.transaction(self._process, "read")
        with self._atomic(), self._store.database.read() as conn:
            yield conn

    def close(self) -> None:
        """The store outlives its users."""

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        self._kernel.atomic = True
        try:
            yield
        finally:
            self._kernel.atomic = False

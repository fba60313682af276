"""A conductor that dies around a commit: before it nothing was written, after it nobody was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import cast

from sqlalchemy import Connection

from conductor.core import Core
from conductor.order import OrderBook
from conductor.waiter import Waiter
from conductor.workflows.image import image_source, upload_target
from drover.conf.conductor import ConductorSettings
from drover.conf.depot import DepotSettings
from drover.db import deployment
from drover.db.engine import Database
from tests.functional.conductor.conftest import Fleet

__all__ = ["Killed", "Point", "dying_core"]


class Point(StrEnum):
    BEFORE = "before the commit"
    AFTER = "after the commit"


class Killed(BaseException):
    """No exception that code may handle: the process is gone."""


class _DyingDatabase:
    """The database as a process sees it that dies with its first transaction."""

    def __init__(self, database: Database, point: Point) -> None:
        self._database = database
        self._point = point

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._database.write() as conn:
            yield conn
            if self._point is Point.BEFORE:
                raise Killed
        raise Killed

    def read(self) -> object:
        return self._database.read()


def dying_core(fleet: Fleet, point: Point) -> Core:
    """The core of a second conductor, ``c0``, that dies at *point* of its first transaction."""
    clock, settings = fleet.runtime.clock, DepotSettings()
    with fleet.database.read() as conn:
        found = deployment.get(conn)
    database = cast("Database", _DyingDatabase(fleet.database, point))
    return Core(
        name="c0",
        runtime=fleet.runtime,
        bus=fleet.bus,
        database=database,
        settings=ConductorSettings(),
        times=fleet.times,
        orders=OrderBook(
            found.id,
            lambda image: image_source(image, settings, found.depot_key, clock.now()),
            lambda image_id, _: upload_target(image_id, settings, found.depot_key, clock.now()),
        ),
        waiter=Waiter(fleet.runtime, database),
        discard_image=lambda _: None,
    )

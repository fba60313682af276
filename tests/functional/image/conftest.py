"""A conductor's half (catalogue and depot) on loopback, over SQLite and a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conductor.depot import Depot
from conductor.workflows.image import ImageWorkflow
from drover.conf.database import DatabaseSettings
from drover.conf.depot import DepotSettings
from drover.db import schema
from drover.db.engine import Database
from drover.rpc.context import RequestContext
from drover.runtime.threads import ThreadRuntime

CTX = RequestContext(request_id="req-test")
KEY = "0123456789abcdef"
CHUNK = 65536


@dataclass
class Site:
    """What a test needs of one conductor; ``restart`` is a conductor that was killed and came back."""

    runtime: ThreadRuntime
    database: Database
    settings: DepotSettings
    depot: Depot
    images: ImageWorkflow

    def restart(self) -> None:
        self.depot.stop()
        self.depot = Depot(self.runtime, self.database, self.settings, KEY)
        self.depot.start()
        self.images = ImageWorkflow(self.database, self.runtime, self.settings, KEY)

    def files(self) -> list[str]:
        return sorted(path.name for path in Path(self.settings.directory).iterdir())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    runtime = ThreadRuntime()
    database = Database("sqlite://", DatabaseSettings(), runtime)
    with database.write() as conn:
        schema.metadata.create_all(conn)
    settings = DepotSettings(
        directory=str(tmp_path / "depot"),
        listen_address="127.0.0.1",
        listen_port=0,
        chunk_bytes=CHUNK,
        max_image_gib=1,
        workers=4,
    )
    depot = Depot(runtime, database, settings, KEY)
    depot.start()
    settings = replace(settings, listen_port=depot.port, url=f"http://127.0.0.1:{depot.port}")
    made = Site(runtime, database, settings, depot, ImageWorkflow(database, runtime, settings, KEY))
    yield made
    made.depot.stop()
    database.close()

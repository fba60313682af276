"""A PostgreSQL server for tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drover.lab.postgres import PrivatePostgres
from drover.runtime.port import free_ports
from tests import needs

__all__ = ["started_postgres"]


@contextmanager
def started_postgres(*, durable: bool) -> Iterator[PrivatePostgres]:
    """Running at the start of the block, gone without a trace after it.

    Its directory is under /tmp, since pytest's own is closed to the user postgres.
    """
    needs.require("postgresql")
    directory = Path(tempfile.mkdtemp(prefix="drover-postgres-"))
    directory.chmod(0o755)
    (port,) = free_ports(1)
    server = PrivatePostgres(directory, port=port, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)

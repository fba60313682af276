"""A RabbitMQ broker for tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drover.lab.rabbitmq import PrivateRabbit
from drover.lab.tls import TlsFiles
from drover.runtime import Runtime
from drover.runtime.port import free_ports
from tests import needs

__all__ = ["started_broker"]


@contextmanager
def started_broker(
    runtime: Runtime, *, tls: TlsFiles | None = None, ports: tuple[int, ...] = ()
) -> Iterator[PrivateRabbit]:
    """Running at the start of the block, gone without a trace after it; the block may kill it.

    Its directory is under /tmp: short, and reachable by the broker's user.

    :param ports: its own, of its node and of its epmd; free ones when nobody cares.
    """
    needs.require("rabbitmq")
    directory = Path(tempfile.mkdtemp(prefix="drover-mq-"))
    port, dist_port, epmd_port = ports or free_ports(3)
    broker = PrivateRabbit(directory, runtime, port=port, dist_port=dist_port, epmd_port=epmd_port, tls=tls)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(directory)

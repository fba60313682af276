"""The fleet that is measured: a lab of its own, with the defaults of this release."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drover.conf import load
from drover.conf.bus import BusSettings
from drover.lab.lab import Lab
from drover.lab.spec import Driver, LabSpec
from drover.objects.catalog import Flavor, Image, ImageFormat, Network, NetworkKind
from drover.rpc.bus import Bus
from drover.rpc.conductor import CONTRACT, WAIT_CONTRACT, ConductorAPI, WaitAPI
from drover.rpc.connect import connect
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import Runtime
from drover.runtime.threads import ThreadRuntime

__all__ = ["FLAVOR", "IMAGE", "NETWORK", "Fleet", "fleet"]

FLAVOR, IMAGE, NETWORK = "bench.tiny", "bench-image", "bench-net"
#: what each host says it has: room for everything that a case builds
_PLENTY = {"agent": {"total_vcpus": "256", "total_memory_mib": "262144", "total_disk_gib": "10000"}}
#: the load generator's own: more than its client threads
_CLIENT_CONNECTIONS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A running lab and a client's way into it."""

    runtime: Runtime
    bus: Bus
    api: ConductorAPI
    waiting: WaitAPI
    parts: Mapping[str, int]  # first pids of all process trees of the lab, by the names of its parts

    def context(self) -> RequestContext:
        return RequestContext(request_id=f"req-{self.runtime.uuid()}")

    def kinds(self) -> Mapping[str, list[int]]:
        """:attr:`parts` by kind: agent, conductor, scheduler, rabbitmq, postgresql."""
        found: dict[str, list[int]] = {}
        for name, pid in self.parts.items():
            found.setdefault(name.rpartition(".")[2].rstrip("0123456789"), []).append(pid)
        return found


@contextmanager
def fleet(hosts: int) -> Iterator[Fleet]:
    """Bring up *hosts* agents with the fake driver, a conductor, a scheduler, RabbitMQ and a durable PostgreSQL."""
    directory = Path(tempfile.mkdtemp(prefix="drover-bench-"))
    directory.chmod(0o755)  # RabbitMQ and PostgreSQL run as users of their own
    runtime = ThreadRuntime()
    lab = Lab(directory, runtime)
    try:
        lab.up(LabSpec(hosts=hosts, driver=Driver.FAKE, links=False, settings=_PLENTY))
        url = load([str(lab.config_file)]).get(BusSettings).transport_url
        bus = connect(runtime, BusSettings(transport_url=url, conn_pool_size=_CLIENT_CONNECTIONS), "bench")
        try:
            found = Fleet(
                runtime=runtime,
                bus=bus,
                api=client(CONTRACT, bus, timeout_s=60.0),
                waiting=client(WAIT_CONTRACT, bus),
                parts={part.name: part.pid for part in lab.status()},
            )
            _stock(found)
            yield found
        finally:
            bus.close()
    finally:
        lab.down()
        shutil.rmtree(directory, ignore_errors=True)


def _stock(fleet: Fleet) -> None:
    """The catalog that every case builds from."""
    fleet.api.flavor_create(fleet.context(), Flavor(id="", name=FLAVOR, vcpus=1, memory_mib=64, disk_gib=1))
    image = Image(id="", name=IMAGE, url="http://127.0.0.1:1/nothing.raw", format=ImageFormat.RAW)
    fleet.api.image_create(fleet.context(), image)
    # The most addresses that a nat network may have: 1,021 beside its gateway.
    network = Network(id="", name=NETWORK, kind=NetworkKind.NAT, cidr="10.99.0.0/22")
    fleet.api.network_create(fleet.context(), network)

"""Every bus under the same tests: a server's end and a client's end of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from drover.conf.bus import BusSettings
from drover.lab.rabbitmq import PrivateRabbit
from drover.rpc.bus import Address, Bus, Server
from drover.rpc.context import RequestContext
from drover.rpc.contract import Endpoint, client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.transport import RabbitBus
from drover.rpc.unix import UnixBus, UnixBusServer
from drover.runtime.threads import ThreadRuntime
from tests.contract.bus.probe import CONTRACT, Probe, ProbeAPI

CTX = RequestContext(request_id="req-1", project_id="blue", user_id="ann")


@dataclass
class Wire:
    """Both ends of one kind of bus, and servers on names of this test only."""

    kind: str
    runtime: ThreadRuntime
    serving: Bus
    calling: Bus
    opened: list[Server] = field(default_factory=list)
    name: str = ""

    def serve(self, probe: Probe, *, workers: int = 4, server: str = "") -> Server:
        address = Address(CONTRACT.topic, server or self.name)
        opened = self.serving.serve(address, Endpoint(CONTRACT, probe), workers)
        self.opened.append(opened)
        return opened

    def client(self, *, server: str = "", timeout_s: float = 30.0) -> ProbeAPI:
        return client(CONTRACT, self.calling, server=server or self.name, timeout_s=timeout_s)

    @property
    def address(self) -> Address:
        return Address(CONTRACT.topic, self.name)


@pytest.fixture(params=["embedded", "unix", "rabbit"])
def wire(request: pytest.FixtureRequest, runtime: ThreadRuntime) -> Iterator[Wire]:
    ends: Wire = request.getfixturevalue(f"{request.param}_ends")
    ends.name = f"server-{runtime.uuid()}"
    yield ends
    with ExitStack() as stack:
        tasks = [runtime.spawn("stop", server.stop) for server in ends.opened]  # a listener looks up every 5 s
        stack.callback(ends.opened.clear)
        assert all(task.join(60) for task in tasks)


@pytest.fixture
def embedded_ends(runtime: ThreadRuntime) -> Iterator[Wire]:
    bus = EmbeddedBus(runtime)
    yield Wire("embedded", runtime, bus, bus.attach("client", runtime))
    bus.close()


@pytest.fixture
def unix_ends(runtime: ThreadRuntime) -> Iterator[Wire]:
    bus = EmbeddedBus(runtime)
    directory = tempfile.mkdtemp(prefix="drover-bus-")
    server = UnixBusServer(runtime, bus, f"{directory}/bus.sock")
    server.start()
    yield Wire("unix", runtime, bus, UnixBus(f"{directory}/bus.sock"))
    server.stop()
    bus.close()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def rabbit_ends(runtime: ThreadRuntime, rabbitmq: PrivateRabbit) -> Iterator[Wire]:
    settings = BusSettings(transport_url=rabbitmq.url)
    serving = RabbitBus(runtime, settings, name="serving")
    calling = RabbitBus(runtime, settings, name="calling")
    yield Wire("rabbit", runtime, serving, calling)
    serving.close()
    calling.close()

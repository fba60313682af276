"""The socket of ``drover standalone``: who may come in, and what becomes of rubbish."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from drover import errors
from drover.rpc.bus import Address, Message
from drover.rpc.contract import Endpoint, client
from drover.rpc.embedded import EmbeddedBus
from drover.rpc.unix import UnixBus, UnixBusServer
from drover.runtime.threads import ThreadRuntime
from drover.runtime.unix_socket import connect
from tests.contract.bus.conftest import CTX
from tests.contract.bus.probe import CONTRACT, Probe

ADDRESS = Address("probe", "p1")
MESSAGE = Message(method="echo", args={"value": {}}, context={"request_id": "r"})


@pytest.fixture
def path() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="drover-bus-")
    yield f"{directory}/bus.sock"
    shutil.rmtree(directory)


@pytest.fixture
def served(runtime: ThreadRuntime, path: str) -> Iterator[UnixBusServer]:
    bus = EmbeddedBus(runtime)
    bus.serve(ADDRESS, Endpoint(CONTRACT, Probe(runtime)), 2)
    server = UnixBusServer(runtime, bus, path, workers=4)
    server.start()
    yield server
    server.stop()
    bus.close()


def test_nobody_listens(path: str) -> None:
    with pytest.raises(errors.BusUnavailable, match=path):
        UnixBus(path).call(ADDRESS, MESSAGE, 1)
    with pytest.raises(errors.BusUnavailable):
        UnixBus(path).cast(ADDRESS, MESSAGE)


def test_a_client_serves_nothing(runtime: ThreadRuntime, path: str) -> None:
    with pytest.raises(errors.BadInput):
        UnixBus(path).serve(ADDRESS, Endpoint(CONTRACT, Probe(runtime)), 1)


@pytest.mark.usefixtures("served")
def test_the_socket_is_the_owners_alone(path: str) -> None:
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_a_second_server_is_refused(runtime: ThreadRuntime, served: UnixBusServer, path: str) -> None:
    with pytest.raises(errors.BusUnavailable, match="listens"):
        UnixBusServer(runtime, EmbeddedBus(runtime), path).start()
    assert client(CONTRACT, UnixBus(path), server="p1").echo(CTX, {})["value"] == {}


def test_after_stop_nobody_listens(served: UnixBusServer, path: str) -> None:
    served.stop()
    with pytest.raises(errors.BusUnavailable):
        UnixBus(path).call(ADDRESS, MESSAGE, 1)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("frame", [b"", b"{]", b"[1]", b'{"topic": 5}', bytes(range(256)), b"[" * 100_000])
def test_rubbish_gets_a_typed_answer(path: str, frame: bytes) -> None:
    with connect(path, timeout_s=30) as end:
        end.send(frame)
        answer = msgspec.json.decode(end.receive(limit_bytes=1 << 20, timeout_s=30))
    assert answer["error"]["code"] == "BadRequest"
    assert client(CONTRACT, UnixBus(path), server="p1").echo(CTX, {})["value"] == {}


@pytest.mark.usefixtures("served")
def test_a_frame_over_the_limit_closes_the_connection(path: str) -> None:
    with connect(path, timeout_s=30) as end, pytest.raises(OSError):  # reset, broken pipe or closed
        end.send(b"x" * (8 << 20))
        end.receive(limit_bytes=1 << 20, timeout_s=30)
    assert client(CONTRACT, UnixBus(path), server="p1").echo(CTX, {})["value"] == {}


@pytest.mark.usefixtures("served")
def test_clients_that_leave_early_cost_nothing(path: str) -> None:
    for _ in range(10):
        connect(path, timeout_s=30).close()
    assert client(CONTRACT, UnixBus(path), server="p1").echo(CTX, {})["value"] == {}

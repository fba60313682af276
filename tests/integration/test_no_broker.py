"""The bus where no broker is: nothing waits for ever, and the reason is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.rpc.bus import Address, Bus, Message
from drover.rpc.connect import connect
from drover.rpc.contract import Endpoint
from drover.rpc.unix import UnixBus
from drover.runtime.port import free_ports
from drover.runtime.threads import ThreadRuntime
from tests.contract.bus.probe import CONTRACT, Probe

ADDRESS = Address("probe", "p1")
MESSAGE = Message(method="note", args={"tag": "x"})


@pytest.fixture
def bus(runtime: ThreadRuntime) -> Iterator[Bus]:
    (port,) = free_ports(1)
    settings = BusSettings(transport_url=f"rabbit://drover:drover@127.0.0.1:{port}/drover", send_retries=1)
    with closing(connect(runtime, settings, "lonely")) as lonely:
        yield lonely


def test_calls_and_casts_fail_soon_with_the_reason(runtime: ThreadRuntime, bus: Bus) -> None:
    began = runtime.clock.monotonic()
    with pytest.raises(errors.BusUnavailable, match="refused"):
        bus.call(ADDRESS, MESSAGE, 60)
    with pytest.raises(errors.BusUnavailable, match="refused"):
        bus.cast(ADDRESS, MESSAGE)
    assert runtime.clock.monotonic() - began < 30


def test_a_server_waits_until_the_bus_is_closed(runtime: ThreadRuntime, bus: Bus) -> None:
    refused = runtime.queue()

    def serve() -> None:
        try:
            bus.serve(ADDRESS, Endpoint(CONTRACT, Probe(runtime)), 1)
        except errors.BusUnavailable as exc:
            refused.put(exc)

    starting = runtime.spawn("serve", serve)
    assert not starting.join(0.5)
    bus.close()
    assert starting.join(60)
    assert len(refused) == 1


def test_the_scheme_chooses_the_bus(runtime: ThreadRuntime) -> None:
    assert isinstance(connect(runtime, BusSettings(transport_url="unix:///run/drover.sock"), "x"), UnixBus)


@pytest.mark.parametrize("url", ["", "http://host/", "unix://relative", "rabbit", "rabbit://[::"])
def test_what_is_no_url_of_a_bus_is_refused(runtime: ThreadRuntime, url: str) -> None:
    with pytest.raises(errors.InvalidConfig):
        connect(runtime, BusSettings(transport_url=url), "x")

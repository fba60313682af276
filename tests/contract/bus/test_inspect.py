"""What the broker tells of its queues; only a bus with a broker does."""

from __future__ import annotations

from contextlib import closing

import pytest

from drover import errors
from drover.rpc.bus import Address, Inspectable, Message, QueueState
from drover.rpc.transport import RabbitBus
from tests.contract.bus.conftest import Wire
from tests.contract.bus.probe import Probe


def test_readers_and_messages_are_counted(rabbit_ends: Wire) -> None:
    wire = rabbit_ends
    wire.name = f"server-{wire.runtime.uuid()}"
    bus = wire.serving
    assert isinstance(bus, Inspectable)
    nobody = Address("probe", "nobody-at-all")
    server = wire.serve(Probe(wire.runtime))
    _until_counted(wire, bus, QueueState(0, 1))  # it reads some moments after it serves
    assert bus.inspect([nobody]) == {nobody: QueueState(0, 0)}
    server.stop()
    wire.opened.clear()
    wire.calling.cast(wire.address, Message(method="note", context={"request_id": "r"}))
    _until_counted(wire, bus, QueueState(1, 0))


@pytest.mark.timeout(60)
def test_the_first_look_of_a_connection_is_answered(rabbit_ends: Wire) -> None:
    """The library tends to a new connection in a thread of its own, which took the answer: one look in two had none."""
    assert isinstance(rabbit_ends.serving, RabbitBus)
    for number in range(10):
        bus = RabbitBus(rabbit_ends.runtime, rabbit_ends.serving._settings, name=f"looking-{number}")
        with closing(bus):
            assert bus.inspect([Address("probe", "nobody")]) == {Address("probe", "nobody"): QueueState(0, 0)}


def _until_counted(wire: Wire, bus: Inspectable, state: QueueState) -> None:
    deadline = wire.runtime.clock.monotonic() + 60
    while bus.inspect([wire.address]) != {wire.address: state}:
        assert wire.runtime.clock.monotonic() < deadline
        wire.runtime.sleep(0.05)


def test_a_closed_bus_tells_nothing(rabbit_ends: Wire) -> None:
    assert isinstance(rabbit_ends.serving, RabbitBus)
    bus = RabbitBus(rabbit_ends.runtime, rabbit_ends.serving._settings, name="closed")
    bus.close()
    with pytest.raises(errors.BusUnavailable):
        bus.inspect([Address("probe")])

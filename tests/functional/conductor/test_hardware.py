"""A placement's hardware reaches its host with every order, and stays the same as long as the placement lives."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from drover.db import claim
from drover.db.claim import ClaimState
from drover.db.schema import allocation
from drover.objects.hardware import Cell, CellAsk, CellClaim, Hardware, HardwareAsk, HardwareClaim
from drover.objects.host import Inventory, Resources
from drover.objects.instance import CreateReply
from drover.objects.sync import Order
from drover.states import Action
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent

ASK = HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), dedicated=True)
FIRST = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=512, cpus=(2,)),))
SECOND = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=512, cpus=(3,)),))


@pytest.fixture
def agent(fleet: Fleet) -> PlayedAgent:
    """Of a host with two CPUs for dedicated use."""
    played = fleet.agent()
    cell = Cell(id=0, cpus=(2, 3), cores=((2, 3),), memory_mib=4096)
    played.sync(inventory=Inventory(vcpus=2, memory_mib=8192, disk_gib=100, hardware=Hardware(cells=(cell,))))
    return played


def place(fleet: Fleet, reply: CreateReply) -> ClaimState:
    request = claim.Claim(
        operation_id=reply.operation_ids[0],
        attempt=1,
        instance_uuid=reply.instance_uuids[0],
        candidates=("h1",),
        ask=Resources(memory_mib=512, disk_gib=1),
        hardware=ASK,
    )
    with fleet.database.write() as conn:
        (outcome,) = claim.claim(conn, [request], fleet.runtime.clock.now())
    return outcome.state


def order_of(agent: PlayedAgent) -> Order:
    (order,) = agent.sync().orders
    return order


def claimed(order: Order) -> HardwareClaim:
    assert order.spec is not None
    return order.spec.hardware


def test_each_order_carries_the_claim_of_the_placement(fleet: Fleet, agent: PlayedAgent) -> None:
    for name, expected in (("one", FIRST), ("two", SECOND)):
        assert place(fleet, fleet.create(name)) is ClaimState.CLAIMED
        order = order_of(agent)
        assert claimed(order) == expected
        assert agent.begin(order)
        agent.end(order)
    for action, params in ((Action.REBOOT, {"type": "hard"}), (Action.REBUILD, {}), (Action.STOP, {})):
        fleet.api.instance_action(CTX, "two", action, params)
        order = order_of(agent)
        assert claimed(order) == SECOND, action
        agent.begin(order)
        agent.end(order)


def test_an_ordinary_guest_has_none(fleet: Fleet, agent: PlayedAgent) -> None:
    fleet.place(fleet.create())
    assert claimed(order_of(agent)) == HardwareClaim()


def test_what_a_deleted_guest_had_is_free_once_its_host_says_that_it_is_gone(fleet: Fleet, agent: PlayedAgent) -> None:
    replies = [fleet.create(name) for name in ("one", "two", "three")]
    assert [place(fleet, reply) for reply in replies] == [ClaimState.CLAIMED, ClaimState.CLAIMED, ClaimState.LOST]
    for order in agent.sync().orders:
        agent.begin(order)
        agent.end(order)
    fleet.api.instance_action(CTX, "one", Action.DELETE, {})
    assert place(fleet, replies[2]) is ClaimState.LOST, "its host may have it still"
    agent.end(order_of(agent), clean=True)
    assert place(fleet, replies[2]) is ClaimState.CLAIMED
    with fleet.database.read() as conn:
        held = conn.execute(select(allocation.c.hardware).order_by(allocation.c.instance_uuid)).scalars()
        assert len(set(held)) == 2

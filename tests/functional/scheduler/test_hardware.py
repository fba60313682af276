"""Dedicated hardware and server groups with a real conductor and a real scheduler; the test plays the hosts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.database import DatabaseSettings
from drover.db.engine import Database
from drover.db.schema import metadata
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.objects.hardware import Cell, Hardware
from drover.objects.host import Inventory
from drover.objects.instance import CreateReply
from drover.objects.sync import Order
from drover.runtime.threads import ThreadRuntime
from drover.states import OperationState
from tests.functional.conductor.conftest import CTX, PlayedAgent
from tests.functional.scheduler.test_room import TIMES, Whole

#: two cells of two cores of two threads, two shared CPUs beside them
CELLS = (
    Cell(id=0, cpus=(2, 3, 4, 5), cores=((2, 3), (4, 5)), memory_mib=2048, pages={2048: 256}),
    Cell(id=1, cpus=(6, 7, 8, 9), cores=((6, 7), (8, 9)), memory_mib=2048, pages={2048: 256}),
)
INVENTORY = Inventory(vcpus=2, memory_mib=4096, disk_gib=100, vcpus_ratio=1.0, hardware=Hardware(cells=CELLS))
FLAVORS = {
    "pinned": {"hw:cpu_policy": "dedicated"},
    "isolated": {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"},
    "huge": {"hw:cpu_policy": "dedicated", "hw:mem_page_size": "2048"},
    "split": {"hw:cpu_policy": "dedicated", "hw:numa_nodes": "2"},
}


@pytest.fixture
def fleet() -> Iterator[Whole]:
    """Flavors of two vCPUs and 512 MiB."""
    runtime = ThreadRuntime()
    database = Database("sqlite://", DatabaseSettings(), runtime)
    with database.write() as conn:
        metadata.create_all(conn)
    made = Whole(database, runtime, TIMES)
    made.prepare()
    for name, specs in FLAVORS.items():
        made.api.flavor_create(CTX, Flavor(id="", name=name, vcpus=2, memory_mib=512, disk_gib=1, extra_specs=specs))
    yield made
    made.close()
    database.close()


@pytest.fixture
def agent(fleet: Whole) -> PlayedAgent:
    played = fleet.agent()
    played.sync(inventory=INVENTORY)
    return played


def order_of(fleet: Whole, agent: PlayedAgent, reply: CreateReply) -> Order:
    assert fleet.placed(reply) == agent.name
    (order,) = (order for order in agent.sync().orders if order.operation_id == reply.operation_ids[0])
    return order


def cpus_of(fleet: Whole, agent: PlayedAgent, reply: CreateReply) -> list[tuple[int, ...]]:
    order = order_of(fleet, agent, reply)
    assert order.spec is not None
    return [cell.cpus for cell in order.spec.hardware.cells]


def ask(fleet: Whole, name: str, flavor: str) -> CreateReply:
    return fleet.ask(name, flavor, hints=Hints())


def refusal(fleet: Whole, reply: CreateReply) -> str:
    fleet.until(lambda: fleet.show(reply).state is OperationState.FAILED, "a refusal")
    error = fleet.show(reply).error
    assert error is not None
    assert error.code == errors.NoValidHost.code
    decision = fleet.api.why(CTX, reply.operation_ids[0]).decisions[-1]
    (words,) = (words for _, name, words in decision.refused if name == "hardware")
    return words


def test_each_gets_cpus_of_its_own_until_none_are_left(fleet: Whole, agent: PlayedAgent) -> None:
    assert cpus_of(fleet, agent, ask(fleet, "a", "pinned")) == [(2, 3)]
    assert cpus_of(fleet, agent, ask(fleet, "b", "isolated")) == [(6, 8)]
    assert cpus_of(fleet, agent, ask(fleet, "c", "huge")) == [(4, 5)]
    assert refusal(fleet, ask(fleet, "d", "pinned")) == (
        "cell 0: 2 dedicated CPUs wanted, 0 of 4 free; cell 1: 2 dedicated CPUs wanted, 0 of 4 free"
    )
    ordinary = ask(fleet, "e", "small")
    assert cpus_of(fleet, agent, ordinary) == [], "who shares CPUs is not in their way"


def test_cells_of_a_guest_are_on_cells_of_their_own(fleet: Whole, agent: PlayedAgent) -> None:
    assert cpus_of(fleet, agent, ask(fleet, "a", "split")) == [(2,), (6,)]


def test_many_at_once_share_nothing(fleet: Whole, agent: PlayedAgent) -> None:
    reply = fleet.create("vm", flavor="pinned", networks=(), count=4)
    fleet.until(lambda: len(fleet.allocations()) == 4, "four places")
    specs = [order.spec for order in agent.sync().orders]
    cpus = [cpu for spec in specs if spec for cell in spec.hardware.cells for cpu in cell.cpus]
    assert sorted(cpus) == list(range(2, 10))
    assert len(reply.instance_uuids) == 4


def test_an_audit_finds_what_two_hold_and_what_no_host_offers(fleet: Whole, agent: PlayedAgent) -> None:
    for name in ("a", "b"):
        order_of(fleet, agent, ask(fleet, name, "pinned"))
    assert not {it.code for it in fleet.api.audit(CTX).findings} & {"HardwareTwice", "HardwareBeyond"}
    with fleet.database.write() as conn:
        conn.execute(sa.text("UPDATE allocation SET hardware = (SELECT min(hardware) FROM allocation)"))
    found = {it.code: it for it in fleet.api.audit(CTX).findings}
    assert found["HardwareTwice"].subject == "host h1"
    assert found["HardwareTwice"].what == "given to more than one guest: CPU 2 to a, b; CPU 3 to a, b"
    agent.sync(inventory=replace(INVENTORY, hardware=Hardware()))
    what = {it.code: it for it in fleet.api.audit(CTX).findings}["HardwareBeyond"].what
    assert what.startswith("its guests hold what it does not offer: CPU 2 of a; CPU 3 of a; CPU 2 of b; CPU 3 of b;")


def test_a_group_of_many_is_kept_apart_in_one_request(fleet: Whole) -> None:
    for name in ("h1", "h2", "h3"):
        fleet.agent(name)
    fleet.api.group_create(CTX, ServerGroup(id="", name="apart", policy=GroupPolicy.ANTI_AFFINITY))
    fleet.create("vm", flavor="small", networks=(), count=3, hints=Hints(group="apart"))
    fleet.until(lambda: len(fleet.allocations()) == 3, "three places")
    assert sorted(fleet.allocations().values()) == ["h1", "h2", "h3"]


def test_a_group_of_many_is_kept_together_in_one_request(fleet: Whole) -> None:
    for name in ("h1", "h2", "h3"):
        fleet.agent(name)
    fleet.api.group_create(CTX, ServerGroup(id="", name="together", policy=GroupPolicy.AFFINITY))
    fleet.create("vm", flavor="small", networks=(), count=4, hints=Hints(group="together"))
    fleet.until(lambda: len(fleet.allocations()) == 4, "four places")
    assert len(set(fleet.allocations().values())) == 1

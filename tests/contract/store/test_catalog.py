from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from conductor.workflows.catalog import CatalogWorkflow
from drover import errors
from drover.db import address, catalog
from drover.db.engine import Database
from drover.objects.catalog import Flavor, Keypair, Network, NetworkKind
from drover.objects.page import ListFilter
from drover.rpc.context import RequestContext
from drover.runtime.threads import ThreadRuntime

CTX = RequestContext(request_id="req-1", project_id="red")
OTHER = replace(CTX, project_id="blue")
SMALL = Flavor(id="", name="small", vcpus=2, memory_mib=512, disk_gib=4, extra_specs={"virt_type": "qemu"})
NET = Network(id="", name="net", kind=NetworkKind.NAT, cidr="10.1.0.0/24", dns=("9.9.9.9",))
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"


@pytest.fixture
def workflow(db: Database, runtime: ThreadRuntime) -> CatalogWorkflow:
    return CatalogWorkflow(db, runtime)


def test_flavors(workflow: CatalogWorkflow, db: Database) -> None:
    small = workflow.flavor_create(CTX, SMALL)
    large = workflow.flavor_create(CTX, replace(SMALL, name="large", vcpus=8))
    assert small == replace(SMALL, id=small.id, created_at=small.created_at)
    assert small.id
    assert small.created_at
    assert workflow.flavor_list(CTX) == (large, small)  # by name
    with db.read() as conn:
        assert catalog.get_flavor(conn, small.id) == catalog.get_flavor(conn, "small") == small
    assert workflow.flavor_delete(CTX, "small") == small
    assert workflow.flavor_list(OTHER) == (large,)
    with pytest.raises(errors.FlavorNotFound):
        workflow.flavor_delete(CTX, "small")


def test_networks(workflow: CatalogWorkflow, db: Database) -> None:
    net = workflow.network_create(CTX, NET)
    assert (net.gateway, net.first, net.last, net.mac_index) == ("10.1.0.1", "10.1.0.2", "10.1.0.254", 1)
    assert net.bridge == "drv" + net.id[:8]
    second = workflow.network_create(CTX, replace(NET, name="bet", cidr="10.2.0.0/24", dns=()))
    assert second.mac_index == 2
    assert workflow.network_list(CTX) == (second, net)
    with db.read() as conn:
        assert catalog.get_network(conn, net.id) == catalog.get_network(conn, "net") == net
    assert workflow.network_delete(CTX, net.id) == net
    third = workflow.network_create(CTX, replace(NET, name="third"))
    assert third.mac_index == 1  # the lowest that is free
    with pytest.raises(errors.NetworkNotFound):
        workflow.network_delete(CTX, "net")


def test_keypairs_belong_to_a_project(workflow: CatalogWorkflow, db: Database) -> None:
    mine = workflow.keypair_create(CTX, "k", KEY + "\n")
    theirs = workflow.keypair_create(OTHER, "k", KEY)
    assert mine == Keypair(
        name="k",
        public_key=KEY,
        fingerprint="SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
        project_id="red",
        created_at=mine.created_at,
    )
    assert workflow.keypair_list(CTX) == (mine,)
    with db.read() as conn:
        assert catalog.get_keypair(conn, "red", "k") == mine
    assert workflow.keypair_delete(CTX, "k") == mine
    assert workflow.keypair_list(OTHER) == (theirs,)
    with pytest.raises(errors.KeypairNotFound):
        workflow.keypair_delete(CTX, "k")


def test_lists_come_in_pages(workflow: CatalogWorkflow) -> None:
    for n, name in enumerate(("b1", "a2", "a1", "a%")):
        workflow.flavor_create(CTX, replace(SMALL, name=name))
        workflow.network_create(CTX, replace(NET, name=name, cidr=f"10.{n}.0.0/24"))
        workflow.keypair_create(CTX, name, KEY)
        workflow.keypair_create(OTHER, name, KEY)
    for ask in (workflow.flavor_list, workflow.network_list, workflow.keypair_list):
        names = [it.name for it in ask(CTX)]
        assert sorted(names) == ["a%", "a1", "a2", "b1"]
        first = ask(CTX, ListFilter(limit=3))
        rest = ask(CTX, ListFilter(limit=3, marker=first[-1].name))
        assert [it.name for it in (*first, *rest)] == names
        assert {it.name for it in ask(CTX, ListFilter(name="a"))} == {"a%", "a1", "a2"}
        assert [it.name for it in ask(CTX, ListFilter(name="a%"))] == ["a%"]
        assert ask(CTX, ListFilter(name="A")) == ()
        with pytest.raises(errors.BadInput, match="0 to 1000 rows"):
            ask(CTX, ListFilter(limit=-1))


def test_names_are_taken_once(workflow: CatalogWorkflow) -> None:
    workflow.flavor_create(CTX, SMALL)
    workflow.network_create(CTX, NET)
    workflow.keypair_create(CTX, "k", KEY)
    with pytest.raises(errors.NameTaken, match="another flavor is named 'small'"):
        workflow.flavor_create(CTX, replace(SMALL, vcpus=1))
    with pytest.raises(errors.NameTaken, match="another network is named 'net'"):
        workflow.network_create(CTX, NET)
    with pytest.raises(errors.NameTaken, match="another keypair is named 'k'"):
        workflow.keypair_create(CTX, "k", KEY)
    assert len(workflow.network_list(CTX)) == len(workflow.flavor_list(CTX)) == 1


def test_ids_are_taken_once_and_come_before_names(workflow: CatalogWorkflow, db: Database) -> None:
    small = workflow.flavor_create(CTX, replace(SMALL, id="0B8EE2A5-3b1c-4d8e-9d5a-6c3f8e1b2a7d"))
    assert small.id == "0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d"
    with pytest.raises(errors.NameTaken, match="0b8ee2a5"):
        workflow.flavor_create(CTX, replace(small, name="else"))
    with db.write() as conn:  # a name like an id cannot be given, but a row may hold one
        catalog.put_flavor(conn, replace(small, id="x", name=small.id))
        assert catalog.get_flavor(conn, small.id) == small


def test_bad_input_writes_nothing(workflow: CatalogWorkflow) -> None:
    with pytest.raises(errors.InvalidFlavor):
        workflow.flavor_create(CTX, replace(SMALL, vcpus=0))
    with pytest.raises(errors.InvalidNetwork):
        workflow.network_create(CTX, replace(NET, cidr="10.1.0.0/8"))
    with pytest.raises(errors.InvalidKeypair):
        workflow.keypair_create(CTX, "k", "nonsense")
    assert (workflow.flavor_list(CTX), workflow.network_list(CTX), workflow.keypair_list(CTX)) == ((), (), ())


def test_overlapping_networks_are_refused(workflow: CatalogWorkflow) -> None:
    workflow.network_create(CTX, NET)
    with pytest.raises(errors.InvalidNetwork, match=r"overlaps 10\.1\.0\.0/24 of network 'net'"):
        workflow.network_create(CTX, replace(NET, name="wide", cidr="10.1.0.0/22"))
    assert [net.name for net in workflow.network_list(CTX)] == ["net"]


def test_a_network_with_ports_stays(workflow: CatalogWorkflow, db: Database, runtime: ThreadRuntime) -> None:
    net = workflow.network_create(CTX, NET)
    with db.write() as conn:
        address.reserve(conn, net.id, [("a", 0)], runtime.uuid)
    with pytest.raises(errors.InUse, match="1 port"):
        workflow.network_delete(CTX, "net")
    with db.write() as conn:
        address.release(conn, ["a"])
    workflow.network_delete(CTX, "net")


def together(works: list[Callable[[], object]]) -> list[object]:
    """What each gave or raised, started at one moment."""
    start = threading.Barrier(len(works))
    outcomes: list[object] = []

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            outcomes.append(work())
        except errors.DroverError as exc:
            outcomes.append(exc.code)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_racers_for_one_name(pg: Database, runtime: ThreadRuntime) -> None:
    workflow = CatalogWorkflow(pg, runtime)
    outcomes = together([lambda: workflow.flavor_create(CTX, SMALL) for _ in range(6)])
    assert outcomes.count("NameTaken") == 5
    outcomes = together([lambda: workflow.keypair_create(CTX, "k", KEY) for _ in range(6)])
    assert outcomes.count("NameTaken") == 5


def test_racers_for_networks_get_mac_indexes_of_their_own(pg: Database, runtime: ThreadRuntime) -> None:
    workflow = CatalogWorkflow(pg, runtime)
    asked = [replace(NET, name=f"n{number}", cidr=f"10.{number}.0.0/24") for number in range(8)]
    made = together([lambda net=net: workflow.network_create(CTX, net) for net in asked])  # type: ignore[misc]
    assert sorted(net.mac_index for net in made if isinstance(net, Network)) == list(range(1, 9))


def test_racers_with_overlapping_networks_leave_one(pg: Database, runtime: ThreadRuntime) -> None:
    workflow = CatalogWorkflow(pg, runtime)
    asked = [replace(NET, name=f"n{number}") for number in range(6)]
    made = together([lambda net=net: workflow.network_create(CTX, net) for net in asked])  # type: ignore[misc]
    assert made.count("InvalidNetwork") == 5
    assert len(workflow.network_list(CTX)) == 1

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from conductor.rule.network import complete
from drover import errors
from drover.clock import from_iso
from drover.db import address, catalog, schema
from drover.db.engine import Database
from drover.objects.catalog import Network, NetworkKind, Port
from drover.runtime.threads import ThreadRuntime

TINY = Network(
    id="0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d",
    name="tiny",
    kind=NetworkKind.NAT,
    cidr="10.9.0.0/24",
    gateway="10.9.0.1",
    first="10.9.0.10",
    last="10.9.0.14",
)


def put(db: Database, network: Network = TINY, mac_index: int = 7) -> Network:
    made = replace(complete(network), mac_index=mac_index, created_at=from_iso("2026-01-01T00:00:00Z"))
    with db.write() as conn:
        catalog.put_network(conn, made)
    return made


def reserve(db: Database, network: Network, *instances: str) -> list[Port]:
    with db.write() as conn:
        return address.reserve(conn, network.id, [(uuid, 0) for uuid in instances], ThreadRuntime().uuid)


def release(db: Database, *instances: str) -> int:
    with db.write() as conn:
        return address.release(conn, instances)


def ips(ports: list[Port]) -> list[str]:
    return [port.ip for port in ports]


def free(db: Database, network: Network) -> int:
    with db.read() as conn:
        return address.free_count(conn, network.id)


def test_ports_come_in_order_with_the_macs_of_their_offsets(db: Database) -> None:
    network = put(db)
    ports = reserve(db, network, "a", "b")
    assert [(p.instance_uuid, p.ip, p.mac) for p in ports] == [
        ("a", "10.9.0.10", "52:54:00:07:00:0a"),
        ("b", "10.9.0.11", "52:54:00:07:00:0b"),
    ]
    assert free(db, network) == 3


def test_ports_are_read_back_as_they_were_made(db: Database) -> None:
    network, other = put(db), put(db, replace(TINY, id=TINY.id.replace("0b", "1b"), name="other"), mac_index=8)
    with db.write() as conn:
        second = address.reserve(conn, network.id, [("a", 1), ("b", 0)], ThreadRuntime().uuid)
        first = address.reserve(conn, other.id, [("a", 0)], ThreadRuntime().uuid)
    with db.read() as conn:
        assert address.ports_of(conn, ["a", "b", "c"]) == {"a": (first[0], second[0]), "b": (second[1],)}
        assert address.ports_of(conn, []) == {}


def test_all_or_nothing_with_numbers(db: Database) -> None:
    network = put(db)
    reserve(db, network, "a", "b")
    with pytest.raises(errors.NoAddresses) as caught:
        reserve(db, network, "c", "d", "e", "f")
    assert caught.value.kwargs == {"network": "tiny", "free": 3, "wanted": 4}
    assert free(db, network) == 3
    assert ips(reserve(db, network, "c", "d", "e")) == ["10.9.0.12", "10.9.0.13", "10.9.0.14"]
    with pytest.raises(errors.NoAddresses):
        reserve(db, network, "f")


def test_a_refusal_leaves_the_transaction_usable(db: Database) -> None:
    network = put(db)
    with db.write() as conn:
        with pytest.raises(errors.NoAddresses):
            address.reserve(conn, network.id, [("x", n) for n in range(6)], ThreadRuntime().uuid)
        address.reserve(conn, network.id, [("a", 0)], ThreadRuntime().uuid)
    assert free(db, network) == 4


def test_a_released_address_is_reused_last(db: Database) -> None:
    network = put(db)
    reserve(db, network, "a", "b", "c")
    assert release(db, "a", "nobody") == 1
    assert release(db) == 0
    assert ips(reserve(db, network, "d", "e", "f")) == ["10.9.0.13", "10.9.0.14", "10.9.0.10"]
    assert release(db, "b", "d") == 2
    assert ips(reserve(db, network, "g")) == ["10.9.0.11"]


def test_a_hole_far_behind_many_taken_ones_is_found(db: Database) -> None:
    network = put(db, replace(TINY, cidr="10.9.0.0/22", first="", last=""))
    everyone = [f"i{number}" for number in range(free(db, network))]
    assert len(everyone) == 1021
    reserve(db, network, *everyone)
    release(db, "i500", "i1000")
    with db.write() as conn:  # the search begins at the first offset again
        conn.execute(sa.update(schema.network).values(cursor=2))
    assert ips(reserve(db, network, "x", "y")) == ["10.9.1.246", "10.9.3.234"]
    assert free(db, network) == 0


def test_nothing_wanted_and_no_network(db: Database) -> None:
    network = put(db)
    assert reserve(db, network) == []
    unknown = replace(network, id="none")
    with pytest.raises(errors.NetworkNotFound):
        reserve(db, unknown, "a")
    with pytest.raises(errors.NetworkNotFound), db.read() as conn:
        address.free_count(conn, unknown.id)


def test_racers_for_the_last_addresses_get_each_once(pg: Database) -> None:
    """Eight tasks take and give back until all forty are held: each address once, none lost."""
    network = put(pg, replace(TINY, first="10.9.0.10", last="10.9.0.49"))
    start = threading.Barrier(8)
    refused: list[int] = []
    failures: list[BaseException] = []

    def work(number: int) -> None:
        start.wait()
        try:
            for step in range(6):  # 48 wanted, in ones and twos, some given back at once
                wanted = [f"{number}.{step}"]
                try:
                    reserve(pg, network, *wanted, f"{number}.{step}.back")
                    release(pg, f"{number}.{step}.back")
                except errors.NoAddresses:
                    try:
                        reserve(pg, network, *wanted)
                    except errors.NoAddresses:
                        refused.append(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with pg.read() as conn:
        rows = conn.execute(sa.select(schema.port.c.offset, schema.port.c.ip, schema.port.c.mac)).all()
    assert len(rows) == len({row.offset for row in rows}) == len({row.ip for row in rows}) == 48 - len(refused)
    assert {row.offset for row in rows} <= set(range(10, 50))
    for number in range(40 - len(rows)):  # whatever was refused while others held two is free now
        reserve(pg, network, f"late{number}")
    with pytest.raises(errors.NoAddresses):
        reserve(pg, network, "one too many")
    assert free(pg, network) == 0


def test_a_network_cannot_go_while_a_port_is_made(pg: Database) -> None:
    network = put(pg)
    reserved = threading.Event()
    outcomes: list[object] = []

    def make() -> None:
        with pg.write() as conn:
            address.reserve(conn, network.id, [("a", 0)], ThreadRuntime().uuid)
            reserved.set()
            deleter.join(0.5)  # it waits for us: the row is locked

    def remove() -> None:
        reserved.wait()
        try:
            with pg.write() as conn:
                catalog.delete_network(conn, network.id)
            outcomes.append("deleted")
        except errors.InUse as exc:
            outcomes.append(exc.code)

    maker, deleter = threading.Thread(target=make), threading.Thread(target=remove)
    deleter.start()
    maker.start()
    maker.join()
    deleter.join()
    assert outcomes == ["InUse"]
    assert free(pg, network) == 4

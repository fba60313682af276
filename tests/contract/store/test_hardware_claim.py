"""Claims of pinned CPUs, huge pages and PCI devices, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from drover.db import claim, host_table, operation
from drover.db.claim import Claim, ClaimState
from drover.db.engine import Database
from drover.db.schema import allocation
from drover.objects import codec
from drover.objects.hardware import Cell, CellAsk, DeviceAsk, Hardware, HardwareAsk, HardwareClaim, PciDevice
from drover.objects.host import Resources
from tests.contract.store.claim_rows import NOW, add_builds, add_host, ask_for, sums, used

GPU = ("10de", "1db6")
OFFER = Hardware(
    cells=(Cell(id=0, cpus=(0, 1, 2, 3), cores=((0, 1), (2, 3)), memory_mib=2048, pages={2048: 512}),),
    devices=tuple(
        PciDevice(address=f"0000:0{number}:00.0", vendor_id=GPU[0], product_id=GPU[1]) for number in range(2)
    ),
)
PINNED = HardwareAsk(cells=(CellAsk(vcpus=2, memory_mib=512),), dedicated=True)
HUGE = HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), page_kib=2048)
DEVICE = HardwareAsk(devices=(DeviceAsk(alias="gpu", count=1, ids=(GPU,)),))
#: what a pinned guest takes of what is counted
MEMORY = Resources(memory_mib=512, disk_gib=1)


def add_offering(db: Database, name: str, offer: Hardware = OFFER) -> None:
    add_host(db, name, places=10, hardware=codec.to_json(offer))


def wish(operation_id: str, *hosts: str, hardware: HardwareAsk = PINNED, **more: Any) -> Claim:
    return ask_for(operation_id, *hosts, ask=MEMORY, hardware=hardware, **more)


def make(db: Database, *claims: Claim) -> list[tuple[ClaimState, str]]:
    with db.write() as conn:
        return [(outcome.state, outcome.host) for outcome in claim.claim(conn, claims, NOW)]


def got(host: str) -> tuple[ClaimState, str]:
    return ClaimState.CLAIMED, host


LOST = (ClaimState.LOST, "")


def held(db: Database) -> dict[str, HardwareClaim]:
    """By operation; who holds nothing is absent."""
    a = allocation.c
    with db.read() as conn:
        rows = conn.execute(select(a.operation_id, a.hardware).where(a.hardware != ""))
        return {row.operation_id: codec.from_json(row.hardware, HardwareClaim) for row in rows}


def cpus(db: Database) -> dict[str, tuple[int, ...]]:
    return {operation_id: each.cells[0].cpus for operation_id, each in held(db).items()}


def test_cpus_are_given_once_in_one_batch_and_after_it(db: Database) -> None:
    for name in ("a", "b"):
        add_offering(db, name)
    add_builds(db, ["o1", "o2", "o3", "o4"])
    assert make(db, wish("o1", "a"), wish("o2", "a")) == [got("a"), got("a")]
    assert cpus(db) == {"o1": (0, 1), "o2": (2, 3)}
    assert make(db, wish("o3", "a")) == [LOST]
    assert make(db, wish("o3", "a", "b")) == [got("b")]
    assert used(db) == sums(db)
    assert used(db)["b"] == MEMORY


def test_a_released_place_gives_its_cpus_back(db: Database) -> None:
    add_offering(db, "a")
    add_builds(db, ["o1", "o2", "o3"])
    make(db, wish("o1", "a"), wish("o2", "a"))
    with db.write() as conn:
        claim.release(conn, instance_uuid="i-o1", host="a", epoch=1)
    assert make(db, wish("o3", "a")) == [got("a")]
    assert cpus(db) == {"o2": (2, 3), "o3": (0, 1)}


def test_pages_are_given_once(db: Database) -> None:
    add_offering(db, "a")
    add_builds(db, ["o1", "o2", "o3"])
    batch = [wish(each, "a", hardware=HUGE) for each in ("o1", "o2", "o3")]
    assert make(db, *batch) == [got("a"), got("a"), LOST]
    assert held(db)["o1"].cells[0].page_kib == 2048


def test_devices_are_given_once(db: Database) -> None:
    add_offering(db, "a")
    add_builds(db, ["o1", "o2", "o3"])
    batch = [wish(each, "a", hardware=DEVICE) for each in ("o1", "o2", "o3")]
    assert make(db, *batch) == [got("a"), got("a"), LOST]
    assert held(db)["o1"].devices == ("0000:00:00.0",)
    assert held(db)["o2"].devices == ("0000:01:00.0",)


def test_a_host_that_offers_nothing_gives_nothing(db: Database) -> None:
    add_host(db, "plain")
    add_builds(db, ["o1"])
    assert make(db, wish("o1", "plain", "gone")) == [LOST]
    assert used(db) == {"plain": Resources()}


def test_ordinary_guests_hold_no_hardware(db: Database) -> None:
    add_offering(db, "a")
    add_builds(db, ["o1"])
    assert make(db, ask_for("o1", "a")) == [got("a")]
    assert held(db) == {}


def test_who_finds_no_memory_takes_no_cpus(db: Database) -> None:
    add_host(db, "a", places=1, hardware=codec.to_json(OFFER), total_memory_mib=100)
    add_builds(db, ["o1"])
    assert make(db, wish("o1", "a")) == [LOST]
    assert held(db) == {}


def test_a_repeat_keeps_what_it_holds(db: Database) -> None:
    """The operation went back to scheduling without giving its place back: its claim never changes."""
    add_offering(db, "a")
    add_builds(db, ["o1", "o2"])
    make(db, wish("o1", "a"), wish("o2", "a"))
    with db.write() as conn:
        claimed = operation.get(conn, "o2")
        assert claimed is not None
        operation.requeue(conn, claimed, exclude="", owner="", until=NOW)
    assert make(db, wish("o2", "a", attempt=2)) == [got("a")]
    assert cpus(db) == {"o1": (0, 1), "o2": (2, 3)}
    assert used(db) == sums(db)


@pytest.mark.parametrize("hardware", [PINNED, HUGE, DEVICE], ids=["cpus", "pages", "device"])
def test_the_host_tells_that_it_changed(db: Database, hardware: HardwareAsk) -> None:
    """The scheduler's table finds hosts by the stamp, also when nothing that is counted was taken."""
    add_offering(db, "a")
    add_builds(db, ["o1"])
    with db.read() as conn:
        mark = host_table.read_all(conn).mark
    with db.write() as conn:
        request = ask_for("o1", "a", ask=Resources(), hardware=hardware)
        assert [outcome.state for outcome in claim.claim(conn, [request], NOW)] == [ClaimState.CLAIMED]
    with db.read() as conn:
        assert [row.host for row in host_table.read_changed(conn, mark + (db.dialect == "sqlite")).rows] == ["a"]

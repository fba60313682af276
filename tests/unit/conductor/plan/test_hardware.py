"""Claims of hardware that contradict one another, or their host."""

from __future__ import annotations

from conductor.plan.hardware import beyond, shared, some
from drover.objects.hardware import Cell, CellClaim, Hardware, HardwareClaim, PciDevice

GPU = "0000:01:00.0"
OFFER = Hardware(
    cells=(Cell(id=0, cpus=(2, 3), memory_mib=512, pages={2048: 4}), Cell(id=1, cpus=(6, 7), memory_mib=512)),
    devices=(PciDevice(address=GPU, vendor_id="10de", product_id="1db6"),),
)


def claim(
    *cpus: int, cell: int = 0, reserved: tuple[int, ...] = (), devices: tuple[str, ...] = (), mib: int = 0, kib: int = 0
) -> HardwareClaim:
    held = CellClaim(cell=cell, vcpus=len(cpus), memory_mib=mib, page_kib=kib, cpus=cpus, reserved=reserved)
    return HardwareClaim(cells=(held,), devices=devices)


def test_sound_claims_share_nothing_and_stay_within_their_host() -> None:
    held = [("a", claim(2, mib=512)), ("b", claim(6, cell=1, devices=(GPU,))), ("c", claim(3, mib=8, kib=2048))]
    assert shared(held) == []
    assert beyond(OFFER, held) == []


def test_a_piece_with_two_guests_is_named_with_both() -> None:
    held = [("a", claim(2, devices=(GPU,))), ("b", claim(3, reserved=(2,))), ("c", claim(6, cell=1, devices=(GPU,)))]
    assert shared(held) == ["CPU 2 to a, b", f"PCI device {GPU} to a, c"]


def test_what_its_host_does_not_offer_is_named() -> None:
    held = [("a", claim(2, 9, mib=300)), ("b", claim(3, mib=300)), ("c", claim(mib=9, kib=2048, devices=("x",)))]
    assert beyond(OFFER, held) == [
        "CPU 9 of a",
        "PCI device x of c",
        "600 MiB of 512 on cell 0",
        "5 pages of 2048 KiB of 4 on cell 0",
    ]
    assert beyond(Hardware(), [("a", claim(2, mib=1))]) == ["CPU 2 of a", "1 MiB of 0 on cell 0"]


def test_only_a_few_are_told() -> None:
    assert some(["a", "b"]) == "a; b"
    assert some(list("abcdefg")) == "a; b; c; d; e; and 2 more"

"""Hardware crosses every seam whole."""

from __future__ import annotations

import json

from drover.objects import codec
from drover.objects.hardware import ANY_HUGE, Cell, CellAsk, CellClaim, DeviceAsk, Hardware, HardwareAsk, HardwareClaim
from drover.objects.host import Inventory

CELL = Cell(id=0, cpus=(0, 1), cores=((0, 1),), memory_mib=64, pages={2048: 4, 1048576: 1})


def test_page_sizes_are_numbers_again_after_a_message() -> None:
    inventory = Inventory(vcpus=1, memory_mib=1, disk_gib=1, hardware=Hardware(cells=(CELL,)))
    message = json.loads(json.dumps(codec.to_plain(inventory)))
    assert codec.from_plain(message, Inventory) == inventory
    assert codec.from_plain(codec.to_plain(inventory), Inventory) == inventory
    assert codec.from_json(codec.to_json(inventory), Inventory) == inventory


def test_an_ask_and_a_claim_are_the_same_after_a_message() -> None:
    ask = HardwareAsk(
        cells=(CellAsk(vcpus=1, memory_mib=2),),
        dedicated=True,
        page_kib=ANY_HUGE,
        devices=(DeviceAsk(alias="gpu", count=1, ids=(("10de", "1db6"),)),),
    )
    claim = HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=2, cpus=(1,), reserved=(2,)),), devices=("x",))
    assert codec.from_json(codec.to_json(ask), HardwareAsk) == ask
    assert codec.from_json(codec.to_json(claim), HardwareClaim) == claim
    assert ask
    assert not HardwareAsk()

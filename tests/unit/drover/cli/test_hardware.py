"""What a host offers, in words."""

from __future__ import annotations

from drover.cli.hardware import hardware_rows
from drover.objects.hardware import Cell, Hardware, PciDevice


def test_cells_and_devices_are_told_line_by_line() -> None:
    offer = Hardware(
        cells=(
            Cell(id=0, memory_mib=3584),
            Cell(id=1, cpus=(4, 5, 6, 9), memory_mib=64, pages={1048576: 1, 2048: 256}),
        ),
        devices=(
            PciDevice(address="0000:3b:00.0", vendor_id="10de", product_id="1db6", cell=1),
            PciDevice(address="0000:5e:00.0", vendor_id="8086", product_id="154d"),
        ),
    )
    assert list(hardware_rows(offer)) == [
        ("cell 0", "3584 MiB"),
        ("cell 1", "dedicated CPUs 4-6,9, 64 MiB, 256 pages of 2048 KiB, 1 page of 1048576 KiB"),
        ("pci devices", "0000:3b:00.0 10de:1db6 on cell 1\n0000:5e:00.0 8086:154d"),
    ]


def test_a_host_that_offers_nothing_has_an_empty_line() -> None:
    assert list(hardware_rows(Hardware())) == [("pci devices", "")]

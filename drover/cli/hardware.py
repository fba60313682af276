"""The hardware that a host offers to give out in pieces, as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from drover.objects.hardware import Cell, Hardware, PciDevice
from drover.units import counted

__all__ = ["hardware_rows"]


def hardware_rows(offer: Hardware) -> Iterator[tuple[str, str]]:
    """A line for each cell, and one for the devices; none where nothing is offered."""
    for cell in offer.cells:
        yield f"cell {cell.id}", _cell(cell)
    yield "pci devices", "\n".join(_device(device) for device in offer.devices)


def _cell(cell: Cell) -> str:
    parts = [f"dedicated CPUs {ranges(cell.cpus)}"] if cell.cpus else []
    parts.append(f"{cell.memory_mib} MiB")
    parts += [f"{counted(count, 'page')} of {size} KiB" for size, count in sorted(cell.pages.items())]
    return ", ".join(parts)


def _device(device: PciDevice) -> str:
    where = f" on cell {device.cell}" if device.cell >= 0 else ""
    return f"{device.address} {device.vendor_id}:{device.product_id}{where}"


def ranges(numbers: Iterable[int]) -> str:
    """``4-6,9`` of 4, 5, 6 and 9."""
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda it: it[1] - it[0]):
        first, *others = [number for _, number in run]
        runs.append(f"{first}-{others[-1]}" if others else str(first))
    return ",".join(runs)

"""The hardware of a fake host, made up from its options."""

from __future__ import annotations

import re

from drover import errors
from drover.conf.fake import FakeSettings
from drover.objects.hardware import Cell, Hardware, PciDevice

__all__ = ["made_up"]

_DEVICE = re.compile(
    r"(?P<address>[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])=(?P<vendor>[0-9a-f]{4}):(?P<product>[0-9a-f]{4})"
    r"(@(?P<cell>\d{1,3}))?"
)
_PAGES = re.compile(r"(?P<size>[1-9]\d{0,7})=(?P<count>\d{1,8})")


def made_up(settings: FakeSettings) -> Hardware:
    """CPUs are numbered cell by cell and core by core.

    :raises errors.InvalidConfig: an option is not of its form.
    """
    pages = dict(_page(text) for text in settings.huge_pages)
    count = settings.numa_cells
    huge_mib = sum(size * number for size, number in pages.items()) // 1024
    cells = []
    for number in range(count):
        first, end = (settings.vcpus * edge // count for edge in (number, number + 1))
        cpus = range(first, end)
        cells.append(
            Cell(
                id=number,
                cpus=tuple(cpus),
                cores=tuple(
                    tuple(cpus[at : at + settings.threads_per_core])
                    for at in range(0, len(cpus), settings.threads_per_core)
                ),
                memory_mib=max(0, settings.memory_mib // count - huge_mib),
                pages=pages,
            )
        )
    return Hardware(cells=tuple(cells), devices=tuple(_device(text) for text in settings.pci_devices))


def _page(text: str) -> tuple[int, int]:
    if not (found := _PAGES.fullmatch(text)):
        raise errors.InvalidConfig(reason=f"[fake] huge_pages: {text!r} is not KiB=count")
    return int(found["size"]), int(found["count"])


def _device(text: str) -> PciDevice:
    if not (found := _DEVICE.fullmatch(text)):
        raise errors.InvalidConfig(reason=f"[fake] pci_devices: {text!r} is not ADDRESS=VENDOR:PRODUCT@CELL")
    return PciDevice(
        address=found["address"],
        vendor_id=found["vendor"],
        product_id=found["product"],
        cell=int(found["cell"] or -1),
    )

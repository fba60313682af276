"""The NUMA cells of a guest, and the host's memory that each has."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.cpu_tune import cpu_list
from agent.virt.libvirt.xml.element import add
from drover.objects.hardware import HardwareClaim

__all__ = ["guest_cells", "memory_backing", "numa_tune"]


def memory_backing(domain: ET.Element, claim: HardwareClaim) -> None:
    """Huge pages, for the cells of the guest that have them."""
    cells_of: dict[int, list[int]] = {}
    for number, cell in enumerate(claim.cells):
        if cell.page_kib:
            cells_of.setdefault(cell.page_kib, []).append(number)
    if not cells_of:
        return
    pages = add(add(domain, "memoryBacking"), "hugepages")
    for size_kib, numbers in sorted(cells_of.items()):
        add(pages, "page", size=size_kib, unit="KiB", nodeset=cpu_list(numbers))


def numa_tune(domain: ET.Element, claim: HardwareClaim) -> None:
    """Memory comes from the claimed cells of the host and from no other."""
    if not claim.cells:
        return
    tune = add(domain, "numatune")
    add(tune, "memory", mode="strict", nodeset=cpu_list(cell.cell for cell in claim.cells))
    for number, cell in enumerate(claim.cells):
        add(tune, "memnode", cellid=number, mode="strict", nodeset=cell.cell)


def guest_cells(cpu: ET.Element, claim: HardwareClaim) -> None:
    """What the guest sees: its vCPUs are numbered cell by cell."""
    numa = add(cpu, "numa")
    for number, (cell, first) in enumerate(zip(claim.cells, _firsts(claim), strict=True)):
        cpus = cpu_list(range(first, first + cell.vcpus))
        add(numa, "cell", id=number, cpus=cpus, memory=cell.memory_mib, unit="MiB")


def _firsts(claim: HardwareClaim) -> Iterator[int]:
    first = 0
    for cell in claim.cells:
        yield first
        first += cell.vcpus

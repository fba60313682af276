"""What an audit looks for in claims of hardware: pieces with two guests, and pieces that their host does not offer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from drover.objects.hardware import CellClaim, Hardware, HardwareClaim
from drover.units import counted

__all__ = ["beyond", "shared", "some"]

#: pieces that a finding names
_MOST = 5

#: the name of who holds it, and what it holds
Held = Sequence[tuple[str, HardwareClaim]]


def shared(held: Held) -> list[str]:
    """CPUs and PCI devices that more than one holds, in words."""
    holders: dict[str, list[str]] = defaultdict(list)
    for name, claim in held:
        for piece in (*(f"CPU {cpu}" for cpu in _cpus(claim)), *(f"PCI device {each}" for each in claim.devices)):
            holders[piece].append(name)
    return [f"{piece} to {', '.join(names)}" for piece, names in holders.items() if len(names) > 1]


def beyond(offer: Hardware, held: Held) -> list[str]:
    """What is held and not offered, or more than is offered, in words."""
    cpus = {cpu for cell in offer.cells for cpu in cell.cpus}
    devices = {device.address for device in offer.devices}
    found = []
    used: Counter[tuple[int, int]] = Counter()  # pages, or MiB of ordinary ones, by cell and page size
    for name, claim in held:
        found += [f"CPU {cpu} of {name}" for cpu in _cpus(claim) if cpu not in cpus]
        found += [f"PCI device {each} of {name}" for each in claim.devices if each not in devices]
        for cell in claim.cells:
            used[cell.cell, cell.page_kib] += _amount(cell)
    offered = {
        (cell.id, size): count for cell in offer.cells for size, count in ((0, cell.memory_mib), *cell.pages.items())
    }
    for (cell_id, size), amount in sorted(used.items()):
        if amount > (most := offered.get((cell_id, size), 0)):
            what = f"{counted(amount, 'page')} of {size} KiB" if size else f"{amount} MiB"
            found.append(f"{what} of {most} on cell {cell_id}")
    return found


def some(pieces: Sequence[str]) -> str:
    """The first few of them."""
    more = [f"and {len(pieces) - _MOST} more"] if len(pieces) > _MOST else []
    return "; ".join([*pieces[:_MOST], *more])


def _cpus(claim: HardwareClaim) -> list[int]:
    return [cpu for cell in claim.cells for cpu in (*cell.cpus, *cell.reserved)]


def _amount(cell: CellClaim) -> int:
    return -(-cell.memory_mib * 1024 // cell.page_kib) if cell.page_kib else cell.memory_mib

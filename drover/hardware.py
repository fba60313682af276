"""Which pieces of a host's hardware a guest gets: one pure function, for the scheduler's filter and for the claim.

A cell of the guest lives on one cell of the host, and no two on the same one.  Dedicated CPUs, huge pages and PCI
devices are given to one guest each; ordinary memory of a cell is given out up to what the cell has.  Of several
fits the answer is always the same: the fullest cells that do (near the devices asked for, if any), whole cores
first, the lowest numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from drover.objects.hardware import (
    ANY_HUGE,
    Cell,
    CellAsk,
    CellClaim,
    DeviceAsk,
    Hardware,
    HardwareAsk,
    HardwareClaim,
    PciDevice,
    ThreadPolicy,
)
from drover.units import counted

__all__ = ["fit", "misfit"]

_K = TypeVar("_K", int, str)


def fit(offer: Hardware, taken: Sequence[HardwareClaim], ask: HardwareAsk) -> HardwareClaim | None:
    """What *ask* gets of what *taken* leaves of *offer*; None when that is not enough."""
    cells, devices = _left(offer, taken)
    placed = _fit_cells(cells, devices, ask)
    if placed is None:
        return None
    given = _fit_devices(devices, ask.devices, near={each.cell for each in placed})
    return None if given is None else HardwareClaim(cells=placed, devices=given)


def misfit(offer: Hardware, taken: Sequence[HardwareClaim], ask: HardwareAsk) -> str:
    """Why :func:`fit` has no claim, with the numbers; "" when it has one."""
    cells, devices = _left(offer, taken)
    if _fit_cells(cells, devices, ask) is None:
        return _cells_misfit(cells, ask)
    if _fit_devices(devices, ask.devices, near=()) is None:
        return _devices_misfit(offer.devices, devices, ask.devices)
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellLeft:
    """What is left of a cell."""

    cell: Cell
    cores: tuple[tuple[int, ...], ...]  # CPUs nobody has, by core
    whole: tuple[tuple[int, ...], ...]  # cores of which nobody has anything
    memory_mib: int
    pages: dict[int, int]

    @property
    def cpus(self) -> int:
        return sum(map(len, self.cores))

    def of(self, page_kib: int) -> int:
        """Memory of this page size, MiB."""
        return self.pages.get(page_kib, 0) * page_kib // 1024 if page_kib else self.memory_mib


def _left(offer: Hardware, taken: Sequence[HardwareClaim]) -> tuple[list[_CellLeft], list[PciDevice]]:
    gone = {address for claim in taken for address in claim.devices}
    claims = [each for claim in taken for each in claim.cells]
    cells = [_cell_left(cell, [each for each in claims if each.cell == cell.id]) for cell in offer.cells]
    return cells, [device for device in offer.devices if device.address not in gone]


def _cell_left(cell: Cell, taken: Sequence[CellClaim]) -> _CellLeft:
    gone = {cpu for claim in taken for cpu in (*claim.cpus, *claim.reserved)}
    cores = cell.cores or tuple((cpu,) for cpu in cell.cpus)
    used: Counter[int] = Counter()
    for claim in taken:
        used[claim.page_kib] += _pages(claim.memory_mib, claim.page_kib) if claim.page_kib else claim.memory_mib
    free = (tuple(cpu for cpu in core if cpu not in gone) for core in cores)
    return _CellLeft(
        cell=cell,
        cores=tuple(core for core in free if core),
        whole=tuple(core for core in cores if gone.isdisjoint(core)),
        memory_mib=cell.memory_mib - used[0],
        pages={size: count - used[size] for size, count in cell.pages.items()},
    )


def _pages(memory_mib: int, page_kib: int) -> int:
    return -(-memory_mib * 1024 // page_kib)


def _fit_cells(
    cells: Sequence[_CellLeft], devices: Sequence[PciDevice], ask: HardwareAsk
) -> tuple[CellClaim, ...] | None:
    if not ask.cells:
        return ()
    near = Counter(device.cell for device in devices if any(_serves(device, each) for each in ask.devices))
    for page_kib in _page_sizes(cells, ask):
        sized = replace(ask, page_kib=page_kib)
        ordered = sorted(cells, key=lambda left: (-near[left.cell.id], *_room(left, sized), left.cell.id))
        chosen = _match([[left.cell.id for left in ordered if not _lacks(left, each, sized)] for each in ask.cells])
        if chosen is not None:
            by_id = {left.cell.id: left for left in cells}
            return tuple(_cell_claim(by_id[id_], each, sized) for id_, each in zip(chosen, ask.cells, strict=True))
    return None


def _page_sizes(cells: Sequence[_CellLeft], ask: HardwareAsk) -> list[int]:
    """The sizes to try, best first: all of a guest's memory has pages of one size."""
    if ask.page_kib != ANY_HUGE:
        return [ask.page_kib]
    sizes = {size for left in cells for size in left.cell.pages}
    return sorted(
        (size for size in sizes if all(each.memory_mib * 1024 % size == 0 for each in ask.cells)), reverse=True
    )


def _room(left: _CellLeft, ask: HardwareAsk) -> tuple[int, int]:
    """Fuller cells first: what is left whole serves the guests that need much."""
    return (left.cpus if ask.dedicated else 0, left.of(ask.page_kib))


def _lacks(left: _CellLeft, cell: CellAsk, ask: HardwareAsk) -> str:
    """What *left* is short of for *cell*, in words; "" for nothing."""
    if ask.page_kib and (wanted := _pages(cell.memory_mib, ask.page_kib)) > (free := left.pages.get(ask.page_kib, 0)):
        return f"{counted(wanted, 'page')} of {ask.page_kib} KiB wanted, {free} of {left.cell.pages.get(ask.page_kib, 0)} free"
    if not ask.page_kib and cell.memory_mib > left.memory_mib:
        return f"{cell.memory_mib} MiB wanted, {left.memory_mib} of {left.cell.memory_mib} free"
    return _lacks_cpus(left, cell.vcpus, ask.threads) if ask.dedicated else ""


def _lacks_cpus(left: _CellLeft, vcpus: int, threads: ThreadPolicy) -> str:
    match threads:
        case ThreadPolicy.ISOLATE if vcpus > len(left.whole):
            cores = len(left.cell.cores or left.cell.cpus)
            return f"{counted(vcpus, 'whole core')} wanted, {len(left.whole)} of {cores} free"
        case ThreadPolicy.REQUIRE if vcpus > (free := sum(map(len, _threaded(left)))):
            return f"{counted(vcpus, 'CPU')} beside free threads of their cores wanted, {free} of {len(left.cell.cpus)} are"
        case ThreadPolicy.PREFER if vcpus > left.cpus:
            return f"{counted(vcpus, 'dedicated CPU')} wanted, {left.cpus} of {len(left.cell.cpus)} free"
    return ""


def _threaded(left: _CellLeft) -> list[tuple[int, ...]]:
    return [core for core in left.cores if len(core) > 1]


def _cell_claim(left: _CellLeft, cell: CellAsk, ask: HardwareAsk) -> CellClaim:
    claim = CellClaim(cell=left.cell.id, vcpus=cell.vcpus, memory_mib=cell.memory_mib, page_kib=ask.page_kib)
    if not ask.dedicated:
        return claim
    if ask.threads is ThreadPolicy.ISOLATE:
        cores = sorted(left.whole, key=lambda core: (len(core), core))[: cell.vcpus]
        return replace(
            claim,
            cpus=tuple(core[0] for core in cores),
            reserved=tuple(sorted(cpu for core in cores for cpu in core[1:])),
        )
    cores = _threaded(left) if ask.threads is ThreadPolicy.REQUIRE else list(left.cores)
    return replace(claim, cpus=_together(cores, cell.vcpus))


def _together(cores: Iterable[tuple[int, ...]], count: int) -> tuple[int, ...]:
    """*count* CPUs on as few cores as it goes, and of those the ones that leave the fewest threads alone."""
    left = sorted(cores)
    cpus: list[int] = []
    while wanted := count - len(cpus):
        core = min(left, key=lambda core: (len(core) > wanted, abs(len(core) - wanted)))
        left.remove(core)
        cpus += core[:wanted]
    return tuple(cpus)


def _serves(device: PciDevice, ask: DeviceAsk) -> bool:
    return (device.vendor_id, device.product_id) in ask.ids


def _fit_devices(
    devices: Sequence[PciDevice], asks: Sequence[DeviceAsk], *, near: Iterable[int]
) -> tuple[str, ...] | None:
    """Addresses in order of the asks; devices of the cells *near* before others."""
    near = set(near)
    ordered = sorted(devices, key=lambda device: (bool(near) and device.cell not in near, device.address))
    chosen = _match(
        [[device.address for device in ordered if _serves(device, ask)] for ask in asks for _ in range(ask.count)]
    )
    return None if chosen is None else tuple(chosen)


def _match(wishes: Sequence[Sequence[_K]]) -> list[_K] | None:
    """One of its wishes for each, none twice, early wishes first where they are free; None when there are too few.

    Kuhn's augmenting paths: whoever finds its wishes taken asks the takers to move on.
    """
    holder: dict[_K, int] = {}

    def settle(who: int, asked: set[_K]) -> bool:
        for wish in sorted(wishes[who], key=holder.__contains__):  # those that nobody has first
            if wish in asked:
                continue
            asked.add(wish)
            if wish not in holder or settle(holder[wish], asked):
                holder[wish] = who
                return True
        return False

    if all(settle(who, set()) for who in range(len(wishes))):
        return [wish for wish, _ in sorted(holder.items(), key=lambda item: item[1])]
    return None


def _cells_misfit(cells: Sequence[_CellLeft], ask: HardwareAsk) -> str:
    if len(ask.cells) > len(cells):
        return f"{counted(len(ask.cells), 'NUMA cell')} wanted, {len(cells)} offered"
    sizes = _page_sizes(cells, ask)
    if not sizes:
        return (
            f"huge pages wanted that divide {', '.join(str(each.memory_mib) for each in ask.cells)} MiB, none offered"
        )
    sized = replace(ask, page_kib=sizes[-1])
    for each in ask.cells:
        lacks = [(left.cell.id, _lacks(left, each, sized)) for left in cells]
        if all(words for _, words in lacks):
            return "; ".join(f"cell {number}: {words}" for number, words in lacks)
    return f"{len(ask.cells)} NUMA cells wanted, each fits but not all at once on {len(cells)} cells"


def _devices_misfit(offered: Sequence[PciDevice], left: Sequence[PciDevice], asks: Sequence[DeviceAsk]) -> str:
    counts = []
    for ask in asks:
        if not ask.ids:
            return f"PCI alias {ask.alias} names no devices ([scheduler] pci_aliases)"
        free, all_ = (sum(_serves(device, ask) for device in devices) for devices in (left, offered))
        if ask.count > free:
            return f"PCI devices {ask.alias}: {ask.count} wanted, {free} of {all_} free"
        counts.append(f"{ask.count} {ask.alias}")
    together = sum(any(_serves(device, ask) for ask in asks) for device in left)
    return f"PCI devices {', '.join(counts)} wanted, {together} free for all of them together"

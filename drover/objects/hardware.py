"""Hardware that is given out piece by piece: CPUs, huge pages and memory of NUMA cells, PCI devices.

What a host offers, what a flavor asks for, and what a claim holds.  :mod:`drover.hardware` fits one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "ANY_HUGE",
    "Cell",
    "CellAsk",
    "CellClaim",
    "DeviceAsk",
    "Hardware",
    "HardwareAsk",
    "HardwareClaim",
    "PciDevice",
    "ThreadPolicy",
]

#: as a page size: huge pages of whatever size the host has, the largest that fits (Nova's ``large``)
ANY_HUGE = -1


class ThreadPolicy(StrEnum):
    """Nova's ``hw:cpu_thread_policy``: what becomes of the hardware threads beside a pinned one."""

    PREFER = "prefer"  # threads of one core together where that is possible
    ISOLATE = "isolate"  # a core for each vCPU; its other threads stay empty
    REQUIRE = "require"  # only hosts with hardware threads, threads of one core together


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A NUMA cell as its host offers it."""

    id: int
    cpus: tuple[int, ...] = ()  # for dedicated use, sorted; shared ones are not listed
    cores: tuple[tuple[int, ...], ...] = ()  # the same CPUs, those of one core together
    memory_mib: int = 0  # of ordinary pages
    pages: dict[int, int] = field(default_factory=dict)  # how many huge pages, by size in KiB (2048, 1048576)


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice:
    address: str  # "0000:3b:00.1"
    vendor_id: str  # four hex digits, as in lspci -nn
    product_id: str
    cell: int = -1  # -1: near none


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a host offers to give out in pieces. Empty: nothing."""

    cells: tuple[Cell, ...] = ()
    devices: tuple[PciDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAsk:
    """One NUMA cell of a guest."""

    vcpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAsk:
    """So many devices of an alias. *ids* are its (vendor, product) pairs: any of them will do."""

    alias: str
    count: int
    ids: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareAsk:
    """Empty: an ordinary guest, which nothing here concerns.

    *cells* has one element at least when CPUs are dedicated or pages are huge; each goes to another cell of the host.
    """

    cells: tuple[CellAsk, ...] = ()
    dedicated: bool = False
    threads: ThreadPolicy = ThreadPolicy.PREFER
    page_kib: int = 0  # 0: ordinary pages; or :data:`ANY_HUGE`
    devices: tuple[DeviceAsk, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cells or self.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellClaim:
    """Where one cell of a guest lives, in order of the guest's cells."""

    cell: int  # of the host
    vcpus: int
    memory_mib: int
    page_kib: int = 0
    cpus: tuple[int, ...] = ()  # one a vCPU, in order of the vCPUs; empty: shared ones
    reserved: tuple[int, ...] = ()  # beside them, kept empty (thread policy ``isolate``)


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareClaim:
    """What a placement holds of its host's hardware. The agent applies exactly this."""

    cells: tuple[CellClaim, ...] = ()
    devices: tuple[str, ...] = ()  # PCI addresses

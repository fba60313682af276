"""The host itself: what it has and how busy it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import libvirt

from agent.virt.libvirt import topology
from agent.virt.libvirt.xml.element import parse
from drover.objects.hardware import Hardware
from drover.objects.host import HostUsage, Inventory
from drover.units import GIB, KIB, MIB

__all__ = ["CpuTimes", "Load", "cpu_flags", "cpu_percent", "cpu_times", "emulator", "inventory", "memory_mib"]

_ARCHITECTURE = "x86_64"


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks of all CPUs since boot."""

    busy: int
    total: int


def cpu_times(stat: str) -> CpuTimes:
    """From the text of ``/proc/stat``; proc(5): user nice system idle iowait irq softirq steal …"""
    ticks = [int(field) for field in stat.split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return CpuTimes(busy=sum(ticks) - idle, total=sum(ticks))


def cpu_percent(earlier: CpuTimes, later: CpuTimes) -> float:
    """0 to 100 of all CPUs together."""
    total = later.total - earlier.total
    return 0.0 if total <= 0 else round(100.0 * (later.busy - earlier.busy) / total, 1)


def memory_mib(meminfo: str) -> tuple[int, int]:
    """Used and total, from the text of ``/proc/meminfo``. Caches that the kernel would give up are not used."""
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    total = kib["MemTotal"]
    return (total - kib["MemAvailable"]) * KIB // MIB, total * KIB // MIB


def cpu_flags(cpuinfo: str) -> tuple[str, ...]:
    """Traits for the flags of the first CPU in the text of ``/proc/cpuinfo``: ``HW_CPU_X86_AVX2``."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return tuple(sorted(f"HW_CPU_X86_{flag.upper()}" for flag in value.split()))
    return ()


def inventory(connection: libvirt.virConnect, disks: Path, virt_types: Iterable[str], *, pci: bool) -> Inventory:
    """Work for a call.

    :param disks: the directory whose file system holds the guests' disks.
    :param pci: whether anybody wants to know of PCI devices: listing them is a call a device.
    """
    architecture, total_mib, cpus = connection.getInfo()[:3]
    capabilities = connection.getCapabilities()
    model = parse(capabilities).findtext("host/cpu/model", "")
    flags = cpu_flags(Path("/proc/cpuinfo").read_text(errors="replace"))
    space = os.statvfs(disks)
    return Inventory(
        vcpus=cpus,
        memory_mib=total_mib,
        disk_gib=space.f_blocks * space.f_frsize // GIB,
        architecture=architecture,
        virt_types=tuple(virt_types),
        traits=((f"CPU_MODEL_{model}", *flags) if model else flags),
        hypervisor=f"QEMU {_version(connection.getVersion())}, libvirt {_version(connection.getLibVersion())}",
        driver="libvirt",
        hardware=Hardware(cells=topology.cells(capabilities), devices=topology.devices(connection) if pci else ()),
    )


def emulator(connection: libvirt.virConnect) -> str:
    """Path of the QEMU that libvirt starts. Work for a call."""
    text = connection.getDomainCapabilities(None, _ARCHITECTURE, None, "qemu", 0)
    return parse(text).findtext("path", f"qemu-system-{_ARCHITECTURE}")


class Load:
    """Readings of the host's load; CPU per cent is that since the reading before."""

    def __init__(self, disks: Path) -> None:
        self._disks = disks
        self._before = CpuTimes(0, 0)  # the first reading tells the average since boot

    def read(self, *, guests: int, at: datetime) -> HostUsage:
        now = cpu_times(Path("/proc/stat").read_text())
        before, self._before = self._before, now
        used_mib, total_mib = memory_mib(Path("/proc/meminfo").read_text())
        space = os.statvfs(self._disks)
        return HostUsage(
            cpu_percent=cpu_percent(before, now),
            load_1m=round(os.getloadavg()[0], 2),
            memory_used_mib=used_mib,
            memory_total_mib=total_mib,
            disk_used_gib=round((space.f_blocks - space.f_bfree) * space.f_frsize / GIB, 2),
            disk_total_gib=round(space.f_blocks * space.f_frsize / GIB, 2),
            guests=guests,
            at=at,
        )


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

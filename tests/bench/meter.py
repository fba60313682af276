"""What processes use, read from ``/proc``: CPU time of whole process trees, memory, and what everybody else took."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CpuMark", "Memory", "cpu_between", "loop_ms", "mark", "memory"]

_TICKS_S = os.sysconf("SC_CLK_TCK")
#: indexes into /proc/PID/stat behind the command name
_PARENT, _USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM = 1, 11, 12, 13, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuMark:
    """CPU seconds used so far, by name; *own* is the process that measures, *machine* is everything."""

    at_s: float
    named: Mapping[str, float]
    own: float
    machine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """MiB of one process tree. PSS counts a page that n processes share as 1/n."""

    rss_mib: float
    pss_mib: float


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    cpu_s: float
    buried_s: float  # of its children that ended


def mark(roots: Mapping[str, Iterable[int]]) -> CpuMark:
    """Read the clocks of all process trees below *roots*, which are pids by name.

    :raises RuntimeError: one of *roots* has ended.
    """
    table = _table()
    if ended := [name for name, pids in roots.items() if not table.keys() >= set(pids)]:
        raise RuntimeError(f"ended: {', '.join(ended)}")
    named = {name: sum(_tree_s(table, pid) for pid in pids) for name, pids in roots.items()}
    return CpuMark(at_s=time.monotonic(), named=named, own=time.process_time(), machine=_machine_s())


def cpu_between(before: CpuMark, after: CpuMark) -> tuple[dict[str, float], float]:
    """CPU seconds by name, and the cores that strangers kept busy meanwhile."""
    named = {name: after.named[name] - before.named[name] for name in after.named}
    strangers = (after.machine - before.machine) - sum(named.values()) - (after.own - before.own)
    return named, max(0.0, strangers) / max(1e-9, after.at_s - before.at_s)


def loop_ms() -> float:
    """CPU milliseconds of a fixed piece of Python: how fast a core is now.

    It doubles when the core's other thread, or another guest of the machine, is busy; so do all figures of CPU time.
    """
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        seen = {number % 100: str(number) for number in range(100_000)}
        best = min(best, time.process_time() - began)
        assert len(seen) == 100
    return round(best * 1000, 1)


def memory(pid: int) -> Memory:
    """Of the tree below *pid*."""
    rss = pss = 0
    for each in _tree(_table(), pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue  # ended meanwhile
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
        rss += sizes["Rss"]
        pss += sizes["Pss"]
    return Memory(rss_mib=round(rss / 1024, 1), pss_mib=round(pss / 1024, 1))


def _table() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        user, system, child_user, child_system = (
            int(fields[index]) / _TICKS_S for index in (_USER, _SYSTEM, _CHILD_USER, _CHILD_SYSTEM)
        )
        found[int(entry)] = _Process(int(fields[_PARENT]), user + system, child_user + child_system)
    return found


def _tree(table: Mapping[int, _Process], root: int) -> list[int]:
    below = [root] if root in table else []
    for pid in below:  # grows while it is walked
        below.extend(child for child, process in table.items() if process.parent == pid)
    return below


def _tree_s(table: Mapping[int, _Process], root: int) -> float:
    return sum(table[pid].cpu_s + table[pid].buried_s for pid in _tree(table, root))


def _machine_s() -> float:
    """Busy seconds of all CPUs: everything but idle, waiting for disks, and guests (counted as user already)."""
    with Path("/proc/stat").open() as file:
        numbers = [int(word) for word in file.readline().split()[1:9]]
    user, nice, system, _, _, irq, softirq, _ = numbers
    return (user + nice + system + irq + softirq) / _TICKS_S

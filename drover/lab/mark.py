"""Processes found again by a mark in their environment.

A pid file is written after the fork, names a stranger after a reboot, and knows nothing of grandchildren.  The
environment a process was started with stands in ``/proc`` from its first instruction, and its children inherit it.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

from drover.runtime import Runtime

__all__ = ["VARIABLE", "find", "signal_all", "wait_gone"]

#: The variable whose value is the mark.
VARIABLE = "DROVER_MARK"


def find(mark: str, *, program: str = "") -> list[int]:
    """Live processes started with *mark*, oldest first; only those running *program* (its base name) when given.

    Sees the processes of this user, and everyone's when called by root.
    """
    wanted = f"{VARIABLE}={mark}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            marked = wanted in (entry / "environ").read_bytes().split(b"\0")
            if marked and program in ("", (entry / "comm").read_text().strip()):
                found.append(int(entry.name))
        except OSError:
            continue  # gone meanwhile, or not ours to see
    return sorted(found)


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to each that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_gone(runtime: Runtime, pids: list[int], timeout_s: float) -> bool:
    """Wait until none of *pids* runs; those that are our children are reaped. ``False`` after *timeout_s*."""
    deadline = runtime.clock.monotonic() + timeout_s
    return all(_wait_one(pid, max(0.0, deadline - runtime.clock.monotonic())) for pid in pids)


def _wait_one(pid: int, timeout_s: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended = bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
    if ended:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return ended

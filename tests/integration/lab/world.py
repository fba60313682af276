"""What a lab may leave behind, seen from outside: by ``/proc`` and ``ip``, not by the lab's own words."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["members", "mounts_and_links", "namespaces", "processes", "short_directory"]


def processes(directory: Path) -> dict[int, str]:
    """Processes that were started for, or work in, a lab's directory: pid -> command line."""
    needle = os.fsencode(directory)
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if needle in command or needle in (entry / "environ").read_bytes():
                found[int(entry.name)] = os.fsdecode(command.replace(b"\0", b" "))
        except OSError:
            continue
    return found


def namespaces(pids: dict[int, str]) -> set[str]:
    """Network, mount and pid namespaces of processes, but for our own."""
    found: set[str] = set()
    for pid in pids:
        for kind in ("net", "mnt", "pid"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found - {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "pid")}


def members(spaces: set[str]) -> set[tuple[int, str]]:
    """Processes in one of the namespaces, with the start time that tells them from later ones of the same pid."""
    found: set[tuple[int, str]] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not namespaces({int(entry.name): ""}) & spaces:
            continue
        try:
            state, *_, started = (entry / "stat").read_text().rpartition(")")[2].split()[:20]
        except OSError:
            continue
        if state != "Z":
            found.add((int(entry.name), started))
    return found


def mounts_and_links() -> tuple[list[str], list[str]]:
    """Mount points and network links of the machine itself."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    shown = subprocess.run(["ip", "-oneline", "link"], capture_output=True, text=True, check=True).stdout
    return sorted(mounts), sorted(line.split(": ")[1] for line in shown.splitlines())


@contextmanager
def short_directory() -> Iterator[Path]:
    """Short enough for sockets in it, and open to the users of RabbitMQ and PostgreSQL."""
    directory = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        yield directory / "l"
    finally:
        shutil.rmtree(directory, ignore_errors=True)

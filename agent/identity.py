"""Who this machine is, as a port: a simulation gives each of its hosts an identity of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.state_dir import StateDir
from drover.objects.host import HostIdentity
from drover.runtime import Runtime

__all__ = ["FixedMachine", "LinuxMachine", "Machine", "host_identity", "next_incarnation"]

_UUID_FILE = "host_uuid"
_INCARNATION_FILE = "incarnation"
_CHANCE_BITS = 32


class Machine(Protocol):
    """What the operating system knows of itself; an empty text is "unknown"."""

    def host_name(self) -> str: ...

    def machine_id(self) -> str: ...

    def boot_id(self) -> str:
        """New with every boot."""


@dataclass(frozen=True, slots=True)
class LinuxMachine:
    """The machine this process runs on."""

    machine_id_file: str = "/etc/machine-id"
    boot_id_file: str = "/proc/sys/kernel/random/boot_id"

    def host_name(self) -> str:
        return os.uname().nodename

    def machine_id(self) -> str:
        return _first_line(Path(self.machine_id_file))

    def boot_id(self) -> str:
        return _first_line(Path(self.boot_id_file))


@dataclass(frozen=True, slots=True)
class FixedMachine:
    """A machine made of words, for simulations, standalone fleets and tests."""

    name: str
    machine: str = "machine"
    boot: str = "boot"

    def host_name(self) -> str:
        return self.name

    def machine_id(self) -> str:
        return self.machine

    def boot_id(self) -> str:
        return self.boot


def host_identity(runtime: Runtime, machine: Machine, state_dir: StateDir, name: str) -> HostIdentity:
    """The host's identity; its uuid is made once and kept in the state directory.

    :param name: the configured name; empty: the machine's own.
    """
    kept = state_dir.read(_UUID_FILE)
    host_uuid = kept.decode().strip() if kept else ""
    if not host_uuid:
        host_uuid = runtime.uuid()
        state_dir.write(_UUID_FILE, f"{host_uuid}\n".encode())
    return HostIdentity(
        host=name or machine.host_name(),
        host_uuid=host_uuid,
        machine_id=machine.machine_id(),
        boot_id=machine.boot_id(),
    )


def next_incarnation(runtime: Runtime, state_dir: StateDir) -> int:
    """The number of this life of the agent: higher than any before it, also of one that died at once.

    Its low bits are chance: agents with copies of one state directory would else come to the same number, and pass
    for one agent that repeats itself.
    """
    kept = state_dir.read(_INCARNATION_FILE)
    count = int(kept) + 1 if kept and kept.strip().isdigit() else 1
    state_dir.write(_INCARNATION_FILE, f"{count}\n".encode())
    return count << _CHANCE_BITS | runtime.random.randrange(1 << _CHANCE_BITS)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

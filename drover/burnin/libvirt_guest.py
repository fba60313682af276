"""Guests of libvirt: running ones are processes of the machine, in their hosts' pid namespaces; the others virsh tells."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

from drover import errors
from drover.burnin.guest import ON, Guest
from drover.lab.lab import Lab
from drover.lab.part import Parts
from drover.runtime import Runtime, program
from drover.runtime.program import Program
from drover.states import PowerState

__all__ = ["LibvirtGuests", "identity"]

_QEMU = re.compile(r"guest=([^,\0]+)")
_MACHINE = re.compile(r"host\d+")
_OURS = "drover-"
_STAMP = "urn:drover:instance:1"
#: virDomainState, by its numbers
_STATES = {
    1: PowerState.RUNNING,
    3: PowerState.PAUSED,
    4: PowerState.RUNNING,
    5: PowerState.SHUTDOWN,
    6: PowerState.CRASHED,
}
#: seconds that virsh may take; more is a libvirtd that hangs
_VIRSH_S = 30.0

_STRANGER = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>16</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>
"""


class LibvirtGuests:
    """:class:`drover.burnin.guest.Hypervisors` of a lab with namespaces for hosts."""

    def __init__(self, lab: Lab, runtime: Runtime) -> None:
        self._lab = lab
        self._parts = Parts(lab.layout, runtime)

    def running(self) -> list[Guest]:
        return [guest for guest, _ in self._processes()]

    def all(self) -> list[Guest]:
        processes = {(guest.host, guest.name): guest.process for guest in self.running()}
        return [
            Guest(
                host=host,
                uuid=identity(host, name),
                name=name,
                power_state=state,
                epoch=self._epoch(host, name),
                process=processes.get((host, name), 0),
            )
            for host in self._lab.spec().host_names()
            for name, state in self._states(host)
        ]

    def files(self, uuids: Collection[str]) -> list[str]:
        folders = (self._lab.layout.host(host) / "instances" for host in self._lab.spec().host_names())
        return [str(path) for folder in folders for path in folder.glob("*") if path.name in uuids]

    def kill(self, guest: Guest) -> bool:
        found = next((one for it, one in self._processes() if it == guest), None)
        return found is not None and program.send(found, program.KILL)

    def add_stranger(self, host: str, name: str) -> None:
        file = self._lab.layout.host(host) / f"{name}.xml"
        file.write_text(_STRANGER.format(name=name))
        self._virsh(host, "define", str(file))
        self._virsh(host, "start", name)

    def remove_stranger(self, host: str, name: str) -> None:
        (self._lab.layout.host(host) / f"{name}.xml").unlink(missing_ok=True)
        for state in [state for there, state in self._states(host) if there == name]:
            if state in ON:
                self._virsh(host, "destroy", name)
            self._virsh(host, "undefine", name)

    def _processes(self) -> list[tuple[Guest, Program]]:
        spaces: dict[int, str] = {}
        for part, machine in self._parts.running().items():
            with suppress(OSError):
                if _MACHINE.fullmatch(part):
                    spaces[_pid_space(machine.pid)] = part
        found: dict[int, tuple[Guest, Program]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # ended meanwhile
                name = _QEMU.search((entry / "cmdline").read_text(errors="replace"))
                host = spaces.get(_pid_space(int(entry.name))) if name else None
                if name and host:
                    one = _program(int(entry.name))
                    uuid, state = identity(host, name[1]), PowerState.RUNNING
                    guest = Guest(host=host, uuid=uuid, name=name[1], power_state=state, process=one.pid)
                    found[one.pid] = (guest, one)
        # A QEMU that becomes a daemon is two processes for a moment: one guest all the same.
        return [(guest, one) for guest, one in found.values() if one.parent not in found]

    def _states(self, host: str) -> list[tuple[str, PowerState]]:
        found: list[tuple[str, PowerState]] = []
        for block in self._virsh(host, "domstats", "--state").split("Domain: ")[1:]:
            name, _, rest = block.partition("\n")
            number = re.search(r"state\.state=(\d+)", rest)
            state = _STATES.get(int(number[1]) if number else 0, PowerState.UNKNOWN)
            found.append((name.strip().strip("'"), state))
        return sorted(found)

    def _epoch(self, host: str, name: str) -> int:
        """0 for a domain without Drover's stamp."""
        if not name.startswith(_OURS):
            return 0
        text = self._virsh(host, "metadata", name, _STAMP)
        stamp = ET.fromstring(text) if text.strip() else None  # noqa: S314  the text is libvirt's own
        return int(stamp.get("epoch", "0")) if stamp is not None else 0

    def _virsh(self, host: str, *command: str) -> str:
        """:raises errors.Unavailable: libvirtd does not answer, or refuses."""
        argv = ["virsh", "--quiet", "--connect", self._lab.uri(host), *command]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_VIRSH_S, env=environment)
        except (subprocess.SubprocessError, OSError) as exc:
            said = str(getattr(exc, "stderr", "") or exc).strip()
            raise errors.Unavailable(what=f"libvirt of {host}", detail=said) from None
        return done.stdout


def identity(host: str, name: str) -> str:
    """Of Drover's domains their instance. Others may have one name on many hosts, and are another one on each."""
    return name.removeprefix(_OURS) if name.startswith(_OURS) else f"{host}/{name}"


def _pid_space(pid: int) -> int:
    """Each host of a lab has a pid namespace of its own.

    :raises OSError: no such process.
    """
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino


def _program(pid: int) -> Program:
    """:raises OSError: no such process."""
    head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    fields = tail.split()
    return Program(
        pid=pid,
        parent=int(fields[1]),
        started_ticks=int(fields[19]),
        name=head.partition("(")[2],
        state=fields[0],
        mark="",
    )

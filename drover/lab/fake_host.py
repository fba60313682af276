"""Hosts for the fake driver: an agent each, without root, libvirt or namespaces.

The cable between a host and the broker is a relay of its own.  A stopped relay is a cut cable: packets vanish
and nobody is told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from drover import errors
from drover.lab.layout import Layout
from drover.lab.part import Parts, wait_until
from drover.lab.spec import LabSpec, host_uuid_of
from drover.runtime import Runtime, program
from drover.runtime.port import is_listening

__all__ = ["FakeHosts"]


class FakeHosts:
    """:class:`drover.lab.machine.Machines` that are nothing but a directory and a relay."""

    def __init__(self, spec: LabSpec, layout: Layout, parts: Parts, runtime: Runtime) -> None:
        self._spec = spec
        self._layout = layout
        self._parts = parts
        self._runtime = runtime

    def parts(self, host: str) -> tuple[str, ...]:
        return (_link(host),) if self._spec.links else ()

    def shared_parts(self) -> tuple[str, ...]:
        return ()

    def prepare(self) -> None:
        """Nothing is shared but the machine itself."""

    def boot(self, host: str) -> None:
        place = self._layout.host(host)
        place.mkdir(parents=True, exist_ok=True)
        (place / "machine-id").write_text(host_uuid_of(host, self._layout.directory).replace("-", "") + "\n")
        if not (place / "boot-id").exists():
            (place / "boot-id").write_text(self._runtime.uuid() + "\n")
        if self._spec.links and _link(host) not in self._parts.running():
            self._lay_cable(host)

    def crash(self, host: str) -> None:
        self._parts.end([host])
        place = self._layout.host(host)
        (place / "boot-id").unlink(missing_ok=True)
        _power_off(place / "agent/fake/guests")

    def cut(self, host: str) -> None:
        self._signal_link(host, program.STOP)
        # The kernel stops a process when it comes to it, not when it is told to.
        log = self._layout.log(_link(host))
        wait_until(self._runtime, lambda: self.is_cut(host), f"the cut of {host}", log)

    def heal(self, host: str) -> None:
        self._signal_link(host, program.CONT)

    def is_cut(self, host: str) -> bool:
        link = self._parts.running().get(_link(host))
        return link is not None and link.state == "T"

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        if host not in self._spec.host_names():
            raise errors.HostNotFound(ref=host)
        return list(argv)

    def _lay_cable(self, host: str) -> None:
        port = self._spec.link_port(host)
        forward = f"127.0.0.1:{port}=127.0.0.1:{self._spec.broker_port}"
        self._parts.start(_link(host), [sys.executable, "-m", "drover.lab.relay", forward])
        self._parts.await_ready(_link(host), lambda: is_listening("127.0.0.1", port), f"the link of {host}")

    def _signal_link(self, host: str, number: int) -> None:
        link = self._parts.running().get(_link(host))
        if link is None:
            why = "does not run" if self._spec.links else "was made without a link of its own"
            raise errors.LabFailed(reason=f"{host} {why}")
        program.send(link, number)


def _link(host: str) -> str:
    return f"{host}.link"


def _power_off(guests: Path) -> None:
    """Fake guests survive their agent; a power failure of their host they do not.

    They are lines of JSON in a file that only grows; the last one of a guest counts.
    """
    if not guests.exists():
        return
    records: dict[str, dict[str, object]] = {}
    for line in guests.read_text().splitlines():
        with suppress(json.JSONDecodeError):  # torn by the death of its writer
            change = json.loads(line)
            records[change["record"]["uuid"] if change.get("record") else change["deleted"]] = change.get("record")
    off = [{"record": {**record, "power_state": "shutdown"}} for record in records.values() if record]
    with guests.open("a") as file:
        file.writelines(f"\n{json.dumps(line)}\n" for line in off)

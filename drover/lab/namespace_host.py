"""Hosts with libvirt: Linux namespaces that hold a libvirtd each, joined by two switches. Needs root.

Nothing of the machine's own network, mounts or files outside the lab's directory changes, and with the last
process of a host its namespaces go by themselves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from drover import errors
from drover.lab import libvirtd
from drover.lab.layout import Layout
from drover.lab.part import Parts
from drover.lab.spec import GATEWAY, LabSpec, address_of, host_uuid_of
from drover.runtime import Runtime
from drover.runtime.program import Program

__all__ = ["FABRIC", "RELAY", "NamespaceHosts"]

FABRIC = "fabric"
RELAY = "relay"
#: the provider network's gateway for guests on bridge networks
PROVIDER_CIDR = "10.88.0.254/24"

_SCRIPTS = Path(__file__).parent
#: holds a namespace; a bare interpreter without site packages keeps it small
_INIT = (sys.executable, "-IS", str(_SCRIPTS.parent / "runtime" / "init.py"))


class NamespaceHosts:
    """:class:`drover.lab.machine.Machines` of namespaces."""

    def __init__(self, spec: LabSpec, layout: Layout, parts: Parts, runtime: Runtime) -> None:
        self._spec = spec
        self._layout = layout
        self._parts = parts
        self._runtime = runtime

    def parts(self, host: str) -> tuple[str, ...]:
        return (host, f"{host}.virtlogd", f"{host}.libvirtd")

    def shared_parts(self) -> tuple[str, ...]:
        return (FABRIC, RELAY) if self._spec.services else (FABRIC,)

    def prepare(self) -> None:
        running = self._parts.running()
        if FABRIC not in running:
            # A relay's sockets keep the old fabric's namespace alive, and with it the hosts' old cables.
            self._parts.end([RELAY])
            self._start_fabric()
            for host in self._spec.host_names():
                if host in running:
                    self._plug(host)
        if self._spec.services and (FABRIC not in running or RELAY not in running):
            self._start_relay()

    def boot(self, host: str) -> None:
        if host not in self._parts.running():
            self._parts.end([host])  # whatever a crash left
            self._make_files(host)
            self._start_machine(host)
            self._plug(host)
        self._start_daemons(host)

    def crash(self, host: str) -> None:
        self._parts.end([host])

    def cut(self, host: str) -> None:
        self._set_link(host, "down")

    def heal(self, host: str) -> None:
        self._set_link(host, "up")

    def is_cut(self, host: str) -> bool:
        running = self._parts.running()
        if FABRIC not in running or host not in running:
            return False
        for line in self._in_fabric(["ip", "-oneline", "link", "show"]).splitlines():
            _, name, flags, *_ = line.split(maxsplit=3)
            if name.partition("@")[0].rstrip(":") == f"{host}-m":
                return "UP" not in flags.strip("<>").split(",")
        return False  # a host that is just booting has no cable yet

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        target = str(self._program(host).pid)
        spaces = ["--net"] if host == FABRIC else ["--mount", "--uts", "--net", "--ipc", "--pid"]
        return ["nsenter", "--target", target, *spaces, "--", *argv]

    def _program(self, name: str) -> Program:
        try:
            return self._parts.running()[name]
        except KeyError:
            raise errors.LabFailed(reason=f"{name} does not run; drover lab up starts what is missing") from None

    def _start_fabric(self) -> None:
        ready = self._layout.directory / "fabric.ready"
        ready.unlink(missing_ok=True)
        script = ["bash", str(_SCRIPTS / "fabric.sh"), f"{GATEWAY}/24", PROVIDER_CIDR, str(ready)]
        self._parts.start(FABRIC, ["unshare", "--net", "--", *script, *_INIT])
        self._parts.await_ready(FABRIC, ready.exists, "the fabric")
        self._parts.await_running(FABRIC)

    def _start_relay(self) -> None:
        depots = (self._spec.depot_port(number) for number in range(1, self._spec.conductors + 1))
        forwards = [f"{GATEWAY}:{port}=127.0.0.1:{port}" for port in (self._spec.broker_port, *depots)]
        namespace = f"/proc/{self._program(FABRIC).pid}/ns/net"
        self._parts.start(RELAY, [sys.executable, "-m", "drover.lab.relay", "--namespace", namespace, *forwards])
        self._parts.await_running(RELAY)

    def _start_machine(self, host: str) -> None:
        place = self._layout.host(host)
        ready = place / "ready"
        ready.unlink(missing_ok=True)
        spaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        script = ["bash", str(_SCRIPTS / "host.sh"), host, str(place), str(ready)]
        self._parts.start(host, ["unshare", *spaces, "--", *script, *_INIT])
        self._parts.await_ready(host, ready.exists, f"{host} to boot")
        self._parts.await_running(host)

    def _plug(self, host: str) -> None:
        pid = str(self._program(host).pid)
        self._in_fabric(["bash", str(_SCRIPTS / "plug.sh"), host, pid, f"{address_of(host)}/24"])

    def _set_link(self, host: str, state: str) -> None:
        self._program(host)
        self._in_fabric(["ip", "link", "set", f"{host}-m", state])

    def _in_fabric(self, argv: Sequence[str]) -> str:
        done = subprocess.run(self.command(FABRIC, argv), capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise errors.LabFailed(reason=f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def _make_files(self, host: str) -> None:
        """A boot finds an empty /run and a new boot id; everything else is as it was left."""
        place = self._layout.host(host)
        shutil.rmtree(place / "run", ignore_errors=True)
        for name in ("run/libvirt", "run/lock", "lib/qemu", "log/qemu", "cache", "images", "instances"):
            (place / name).mkdir(parents=True, exist_ok=True)
        identity = host_uuid_of(host, self._layout.directory)
        (place / "boot-id").write_text(self._runtime.uuid() + "\n")
        (place / "machine-id").write_text(identity.replace("-", "") + "\n")
        others = (f"{address_of(name)} {name}" for name in self._spec.host_names())
        (place / "hosts").write_text("\n".join(["127.0.0.1 localhost", *others]) + "\n")
        libvirtd.make_files(place, host_uuid=identity, address=address_of(host))

    def _start_daemons(self, host: str) -> None:
        running = self._parts.running()
        if f"{host}.libvirtd" not in running:
            libvirtd.forget_unborn(self._layout.host(host))
        for name, argv in libvirtd.COMMANDS.items():
            if f"{host}.{name}" not in running:
                self._parts.start(f"{host}.{name}", self.command(host, argv), {"LC_ALL": "C.UTF-8"})
        name, socket = f"{host}.libvirtd", self._layout.socket(host)
        self._parts.await_ready(name, lambda: libvirtd.answers(socket), f"libvirtd of {host}", look_s=libvirtd.LOOK_S)
        libvirtd.keep_findings(self._layout.host(host))

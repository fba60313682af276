"""One hypervisor host of the test's own: namespaces, private directories, virtlogd and libvirtd.

The driver under test runs outside and speaks to libvirtd by its socket; what has to do with networks runs inside.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from drover.lab.libvirtd import forget_unborn

__all__ = ["Machine", "running_machine", "wait_until"]

_SETUP = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup 2>/dev/null || true  # hidden under a new /sys, libvirtd would still believe in them
mount -t sysfs sysfs /sys
for dir in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mount --bind "$1$dir" "$dir"
done
ip link set lo up
touch "$1/ready"
while :; do sleep 3600 & wait $!; done  # as PID 1 it buries every QEMU
"""
_LIBVIRTD_CONF = """
host_uuid = "{uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""
_QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
namespaces = []
remember_owner = 0
dynamic_ownership = 0
"""
_NAMESPACES = ["--net", "--mount", "--uts", "--ipc", "--pid"]


def wait_until(check: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Look until *check* is true; fails with *what* after a generous time."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)


class Machine:
    """Everything of it lies under one short directory, for UNIX sockets' sake."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dvh-"))
        self.uri = f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"
        self._holder: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def up(self) -> None:
        for name in ("run/libvirt", "etc/libvirt", "var/lib/libvirt/qemu", "var/log/libvirt/qemu", "var/cache/libvirt"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        etc = self.root / "etc/libvirt"
        (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(uuid="6b1f9a52-0c52-4d0f-9a45-5f4f3d6f9a01"))
        (etc / "qemu.conf").write_text(_QEMU_CONF)
        unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--", "bash", "-c", _SETUP, "setup"]
        with (self.root / "setup.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [*unshare, str(self.root)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until((self.root / "ready").exists, "namespaces")
        self._pid = _child_of(self._holder.pid)
        self._spawn("virtlogd")
        self.start_libvirtd()

    def down(self) -> None:
        """Kill PID 1 of the host, and with it everything in it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        for process in (self._holder, *self._daemons.values()):
            if process is not None:
                process.send_signal(signal.SIGCONT)
                process.wait(30)
        shutil.rmtree(self.root)

    def run(self, argv: Sequence[str], **options: object) -> str:
        """Run a program inside; returns its standard output."""
        done = subprocess.run(self._enter(argv), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, code: str, *argv: str) -> str:
        """Run Python inside, with this run's interpreter and path."""
        environment = ["env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"]
        return self.run([*environment, sys.executable, "-c", code, *argv])

    def call(self, function: Callable[..., None], *arguments: str) -> None:
        """Run a function of a test module inside, in a process of its own; fails when it raises."""
        code = f"import sys; from {function.__module__} import {function.__name__} as f; f(*sys.argv[1:])"
        self.python(code, *arguments)

    def virsh(self, *argv: str) -> str:
        return self.run(["virsh", *argv])

    def no_domains(self) -> None:
        """Destroy and undefine every domain of the host."""
        for name in self.virsh("list", "--name").split():
            self.virsh("destroy", name)
        for name in self.virsh("list", "--all", "--name").split():
            self.virsh("undefine", name, "--managed-save")

    def start_libvirtd(self) -> None:
        """As the unit in etc/systemd does it."""
        forget_unborn(self.root)
        self._spawn("libvirtd")
        socket = self.root / "run/libvirt/libvirt-sock"
        probe = ["virsh", "-q", "-c", self.uri, "version"]
        wait_until(
            lambda: socket.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0,
            "libvirtd",
        )

    def signal_libvirtd(self, number: int) -> None:
        nsenter = self._daemons["libvirtd"].pid
        os.kill(_child_of(nsenter), number)
        if number != signal.SIGSTOP:
            os.kill(nsenter, signal.SIGCONT)  # it stops itself when its child is stopped

    def kill_libvirtd(self) -> None:
        self.signal_libvirtd(signal.SIGKILL)
        self._daemons.pop("libvirtd").wait(30)

    def qemu_pid(self, domain: str) -> int:
        """Of a running domain, as inside."""
        return int((self.root / "run/libvirt/qemu" / f"{domain}.pid").read_text())

    def _spawn(self, name: str) -> None:
        with (self.root / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                self._enter([name]), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self._pid), *_NAMESPACES, "--", *argv]


@contextlib.contextmanager
def running_machine() -> Iterator[Machine]:
    """A host that goes with everything on it."""
    host = Machine()
    try:
        host.up()
        yield host
    finally:
        host.down()


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(children.read_text, f"child of {pid}")
    return int(children.read_text().split()[0])

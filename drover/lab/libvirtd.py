"""A libvirtd of a lab's host: its files, its commands, whether it answers."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from drover.lab.layout import cache_directory

__all__ = ["COMMANDS", "LOOK_S", "answers", "forget_unborn", "has_kept_findings", "keep_findings", "make_files", "uri"]

#: in the foreground, so that each is one process, found by its mark
COMMANDS = {
    "virtlogd": ("virtlogd", "--pid-file", "/run/virtlogd.pid"),
    "libvirtd": ("libvirtd", "--listen", "--pid-file", "/run/libvirtd.pid"),
}

_LIBVIRTD = """\
host_uuid = "{host_uuid}"
listen_tls = 0
# Nobody but the lab's other hosts reaches this address.
listen_tcp = 1
auth_tcp = "none"
listen_addr = "{address}"
auth_unix_ro = "none"
auth_unix_rw = "none"
keepalive_interval = 5
keepalive_count = 3
"""

_QEMU = """\
# There are no cgroups, security labels or device namespaces in a host that is itself a namespace.
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
dynamic_ownership = 0
stdio_handler = "logd"
vnc_listen = "127.0.0.1"
migration_address = "0.0.0.0"
migration_host = "{address}"
"""

_UNBORN = re.compile(r"^<domstatus [^>]*\bpid='0'", re.MULTILINE)

#: seconds between two looks whether it answers; each is a run of virsh
LOOK_S = 0.2

#: what is the same for every host on this machine and costs seconds of CPU to find out: what QEMU can do, in
#: libvirt's words, and whether KVM works, in the agent's. Both check for themselves whether it still holds.
_FINDINGS = ("cache/qemu/capabilities", "agent/kvm.json")


def uri(socket: Path) -> str:
    """For processes outside the host's namespaces."""
    return f"qemu+unix:///system?socket={socket}"


def make_files(place: Path, *, host_uuid: str, address: str) -> None:
    """Configuration below *place*, the host's directory; what libvirt keeps there itself stays."""
    etc = place / "etc"
    if not etc.exists():
        # Without the machine's own networks: they would want to start here too.
        shutil.copytree("/etc/libvirt", etc, symlinks=True, ignore=shutil.ignore_patterns("networks"))
    (etc / "libvirtd.conf").write_text(_LIBVIRTD.format(host_uuid=host_uuid, address=address))
    (etc / "qemu.conf").write_text(_QEMU.format(address=address))
    for finding in _FINDINGS:
        if (_kept() / finding).exists() and not (place / finding).exists():
            _copy(_kept() / finding, place / finding)


def forget_unborn(place: Path) -> None:
    """Before libvirtd starts: forget guests that its forerunner was about to start when it was killed.

    libvirt notes a guest as active before there is a process for it (``pid='0'``; the process begins only after
    libvirtd has seen it). A libvirtd that reads such a note believes in that guest for ever, and no call removes
    it. Machines with systemd have etc/systemd/libvirtd.service.d/drover.conf for this.
    """
    for note in (place / "run/libvirt/qemu").glob("*.xml"):
        if _UNBORN.search(note.read_text(errors="replace")):
            note.unlink()


def answers(socket: Path) -> bool:
    """Whether libvirtd takes a connection and knows its hypervisor."""
    if not socket.exists():
        return False
    done = subprocess.run(["virsh", "--quiet", "--connect", uri(socket), "version"], capture_output=True, check=False)
    return done.returncode == 0


def has_kept_findings() -> bool:
    """Whether libvirt need not ask QEMU what it can do."""
    return (_kept() / _FINDINGS[0]).exists()


def keep_findings(place: Path) -> None:
    """Keep what was found out on the host of *place*, for hosts to come."""
    for finding in _FINDINGS:
        if (place / finding).exists() and not (_kept() / finding).exists():
            _copy(place / finding, _kept() / finding)


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all; of several at once one does it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        made = Path(beside) / target.name
        shutil.copytree(source, made) if source.is_dir() else shutil.copy2(source, made)
        with contextlib.suppress(OSError):  # another was faster
            made.rename(target)


def _kept() -> Path:
    """Named by the age of the programs that libvirt asks and is, which is what it checks as well."""
    programs = (shutil.which(name) for name in ("qemu-system-x86_64", "libvirtd"))
    ages = "-".join(str(Path(path).stat().st_ctime_ns) for path in programs if path)
    return cache_directory() / f"findings-{ages}"

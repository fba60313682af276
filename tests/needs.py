"""What a test needs of the machine: absent at a desk it is skipped with the reason, in CI it fails."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["require"]

#: part -> programs, one of which must be there
_PROGRAMS = {
    "dnsmasq": ("dnsmasq",),
    "libvirt": ("libvirtd",),
    "nftables": ("nft",),
    "openssl": ("openssl",),
    "postgresql": tuple(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
    "qemu": ("qemu-system-x86_64",),
    "qemu-img": ("qemu-img",),
    "rabbitmq": ("/usr/lib/rabbitmq/bin/rabbitmq-server",),
    "ssh-keygen": ("ssh-keygen",),
}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def require(*parts: str) -> None:
    """Skip the calling test, or fail it where ``CI`` is set, unless every part is there.

    :param parts: names of :data:`_PROGRAMS`, ``root``, or ``netns`` (network namespaces can be made).
    """
    missing = [reason for part in parts if (reason := _missing(part))]
    if not missing:
        return
    words = "; ".join(missing)
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {words}", pytrace=False)
    pytest.skip(words)


@functools.cache
def _missing(part: str) -> str:
    """Why the part cannot be used; empty when it can."""
    if part == "root":
        return "" if os.geteuid() == 0 else "not root"
    if part == "netns":
        return _no_namespaces()
    if not any(shutil.which(program, path=_PATH) for program in _PROGRAMS[part]):
        return f"not installed: {part}"
    if part == "libvirt" and not importlib.util.find_spec("libvirt"):
        return "no Python module libvirt"
    return ""


def _no_namespaces() -> str:
    if not all(shutil.which(program, path=_PATH) for program in ("unshare", "ip")):
        return "not installed: util-linux, iproute2"
    tried = subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "network namespaces cannot be made"

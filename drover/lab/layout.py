"""Where everything of a lab lies: one directory, and what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Layout", "cache_directory", "default_directory"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the lab's directory; nothing is read or made."""

    directory: Path

    @property
    def spec(self) -> Path:
        return self.directory / "lab.json"

    @property
    def client_config(self) -> Path:
        """For ``drover --config-file`` or ``DROVER_CONFIG``."""
        return self.directory / "drover.conf"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def configs(self) -> Path:
        return self.directory / "conf"

    @property
    def rabbitmq(self) -> Path:
        return self.directory / "rabbitmq"

    @property
    def postgresql(self) -> Path:
        return self.directory / "postgresql"

    @property
    def depot(self) -> Path:
        return self.directory / "depot"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def config(self, name: str) -> Path:
        return self.configs / f"{name}.conf"

    def host(self, name: str) -> Path:
        return self.directory / "hosts" / name

    def socket(self, name: str) -> Path:
        """The host's libvirt socket; the longest path of a lab that the kernel limits."""
        return self.host(name) / "run/libvirt/libvirt-sock"


def default_directory() -> Path:
    """``/var/lib/drover-lab`` for root (PostgreSQL's user must reach it), else ``~/.drover/lab``."""
    return Path("/var/lib/drover-lab") if os.geteuid() == 0 else Path.home() / ".drover/lab"


def cache_directory() -> Path:
    """What is costly to make and good for every lab: ``$DROVER_CACHE``, ``$XDG_CACHE_HOME/drover`` or ``~/.cache/drover``."""
    if given := os.environ.get("DROVER_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "drover"

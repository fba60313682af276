"""What the hosts of a lab are made of: one protocol, two kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Machines"]


class Machines(Protocol):
    """The hypervisor hosts of one lab, without their agents."""

    def prepare(self) -> None:
        """What all hosts stand on. Idempotent."""

    def parts(self, host: str) -> tuple[str, ...]:
        """Names of the parts of one host, without its agent. The first one holds its cable."""

    def shared_parts(self) -> tuple[str, ...]:
        """Names of the parts that all hosts stand on."""

    def boot(self, host: str) -> None:
        """Running and ready afterwards; what of it runs already is left as it is."""

    def crash(self, host: str) -> None:
        """Power failure: everything on it is gone at once, its disks stay."""

    def cut(self, host: str) -> None:
        """Take its management link away: packets vanish, nothing is told."""

    def heal(self, host: str) -> None: ...

    def is_cut(self, host: str) -> bool: ...

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        """How to run *argv* on the host.

        :raises drover.errors.LabFailed: it does not run.
        """

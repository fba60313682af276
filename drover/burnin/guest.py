"""Guests as the hypervisors of a lab show them themselves: beside Drover, not through it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from drover.states import PowerState

__all__ = ["ON", "Guest", "Hypervisors"]

#: a process runs it
ON = (PowerState.RUNNING, PowerState.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A domain of a host.

    ``uuid`` is that of its instance, and names no other domain if it is not Drover's.  ``process`` changes when it is
    started anew; 0: it is off, or not known.
    """

    host: str
    uuid: str
    name: str
    power_state: PowerState
    epoch: int = 0  # 0: it is not Drover's
    process: int = 0


class Hypervisors(Protocol):
    """Every hypervisor of one lab."""

    def running(self) -> list[Guest]:
        """Those that run or are paused now, also while parts of the fleet are dead. Only who, where, which process."""

    def all(self) -> list[Guest]:
        """Every domain, whoever made it.

        :raises drover.errors.Unavailable: a hypervisor does not answer.
        """

    def files(self, uuids: Collection[str]) -> list[str]:
        """What of *uuids* lies on disks of hosts."""

    def kill(self, guest: Guest) -> bool:
        """End its process as a crash does; False: it had ended."""

    def add_stranger(self, host: str, name: str) -> None:
        """A running domain that is not Drover's."""

    def remove_stranger(self, host: str, name: str) -> None:
        """Absent is fine."""

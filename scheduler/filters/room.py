"""The common form of filters that ask for a free amount of one resource."""

from __future__ import annotations

from abc import ABC, abstractmethod

from scheduler.host_table import BoolArray, HostTable, Resource
from scheduler.spec import PlacementSpec

__all__ = ["RoomFilter"]


class RoomFilter(ABC):
    """Hosts on which :meth:`ask` of :attr:`resource` is free. *unit* follows the numbers."""

    name: str
    resource: Resource
    unit: str

    @abstractmethod
    def ask(self, spec: PlacementSpec) -> int:
        """How much of the resource the request needs."""

    def words(self, amount: int) -> str:
        """``512 MiB of memory``."""
        return f"{amount} {self.unit}"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return self.ask(spec) != 0

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.fits(self.resource, self.ask(spec))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        ask = self.ask(spec)
        free = int(table.free[self.resource, place])
        if ask == 0 or ask <= free:
            return ""
        return f"{self.words(ask)} wanted, {max(free, 0)} of {int(table.total[self.resource, place])} free"

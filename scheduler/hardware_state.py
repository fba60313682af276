"""What a host offers of its hardware, and what of it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drover import hardware
from drover.objects import codec
from drover.objects.hardware import Hardware, HardwareAsk, HardwareClaim
from scheduler.column import BoolArray, SharedColumn

__all__ = ["HardwareColumn", "HardwareState"]

#: answers kept for one state: more different asks than a fleet has flavors
_MOST_ANSWERS = 64


@dataclass(frozen=True, slots=True)
class HardwareState:
    """Two hosts that offer the same and have given the same away are equal; answers are worked out once for both."""

    offered: str  # JSON of Hardware, "" for none
    claims: tuple[str, ...]  # JSON of HardwareClaim each, sorted
    offer: Hardware = field(compare=False, repr=False)
    taken: tuple[HardwareClaim, ...] = field(compare=False, repr=False)
    _answers: dict[str, str] = field(compare=False, repr=False, default_factory=dict)

    @classmethod
    def of(cls, offered: str, claims: Sequence[str] = ()) -> HardwareState:
        """:param offered, claims: JSON, as the database has it."""
        untouched = cls(
            offered=offered, claims=(), offer=codec.from_json(offered, Hardware) if offered else Hardware(), taken=()
        )
        return untouched.holding(claims) if claims else untouched

    def holding(self, claims: Sequence[str]) -> HardwareState:
        """The same hardware with *claims* on it and no others."""
        ordered = tuple(sorted(claims))
        return HardwareState(
            offered=self.offered,
            claims=ordered,
            offer=self.offer,
            taken=tuple(codec.from_json(each, HardwareClaim) for each in ordered),
        )

    def misfit(self, ask: HardwareAsk, key: str = "") -> str:
        """Why *ask* finds no place here; "" when it does.

        :param key: JSON of *ask*, of who asks many states.
        """
        key = key or codec.to_json(ask)
        words = self._answers.get(key)
        if words is None:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            words = self._answers[key] = hardware.misfit(self.offer, self.taken, ask)
        return words

    def given(self, ask: HardwareAsk) -> HardwareState:
        """The state once *ask* has its place; the same state where it finds none."""
        claim = hardware.fit(self.offer, self.taken, ask)
        return self if claim is None else self.holding((*self.claims, codec.to_json(claim)))

    @property
    def free_devices(self) -> int:
        """PCI devices that nobody has."""
        return len(self.offer.devices) - sum(len(claim.devices) for claim in self.taken)

    @property
    def share_taken(self) -> float:
        """How much of the CPUs for dedicated use is taken, or of the huge pages where there are no such CPUs: 0 to 1."""
        cpus = sum(len(cell.cpus) for cell in self.offer.cells)
        claims = [cell for claim in self.taken for cell in claim.cells]
        if cpus:
            return min(1.0, sum(len(each.cpus) + len(each.reserved) for each in claims) / cpus)
        kib = sum(size * count for cell in self.offer.cells for size, count in cell.pages.items())
        return min(1.0, sum(each.memory_mib * 1024 for each in claims if each.page_kib) / kib) if kib else 0.0


class HardwareColumn(SharedColumn[HardwareState]):
    """The hardware of each host."""

    __slots__ = ()

    def fits(self, ask: HardwareAsk) -> BoolArray:
        """Where *ask* finds its place."""
        key = codec.to_json(ask)
        return self.where(lambda state: not state.misfit(ask, key))

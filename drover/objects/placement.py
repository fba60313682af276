"""Placements: an allocation row as a value."""

from __future__ import annotations

from dataclasses import dataclass, field

from drover.objects.hardware import HardwareClaim
from drover.objects.host import Resources
from drover.states import PlacementState

__all__ = ["Placement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A host holds, or may hold, something of (instance, epoch). Capacity and addresses stay taken while it exists."""

    instance_uuid: str
    host: str
    epoch: int
    state: PlacementState
    operation_id: str
    resources: Resources
    hardware: HardwareClaim = field(default_factory=HardwareClaim)

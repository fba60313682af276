"""What a request asks of a host."""

from __future__ import annotations

from dataclasses import dataclass

from drover.db.claim import Waiting
from drover.objects.host import Resources
from drover.units import bytes_to_gib_ceil

__all__ = ["PlacementSpec", "spec_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSpec:
    """Two requests with equal specs are the same to every filter and weigher. Empty words ask for nothing."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    architecture: str = ""
    virt_type: str = ""
    excluded_hosts: tuple[str, ...] = ()

    @property
    def resources(self) -> Resources:
        """What is claimed."""
        return Resources(vcpus=self.vcpus, memory_mib=self.memory_mib, disk_gib=self.disk_gib)


def spec_of(waiting: Waiting) -> PlacementSpec:
    """The request of an operation.

    Disk is never less than the image needs.  Nova claims nothing for a flavor without disk, although the
    guest's disk then grows to the image's size, and such guests fill hosts unseen (Nova bug 1739646); here
    they are counted at that size.
    """
    flavor = waiting.flavor
    return PlacementSpec(
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=max(flavor.disk_gib, waiting.min_disk_gib, bytes_to_gib_ceil(waiting.virtual_size_bytes)),
        architecture=waiting.architecture,
        virt_type=flavor.extra_specs.get("virt_type", "") or waiting.virt_type,
        excluded_hosts=tuple(sorted(set(waiting.excluded_hosts))),
    )

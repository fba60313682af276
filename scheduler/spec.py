"""What a request asks of a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drover import errors, extra_spec
from drover.db.waiting import Waiting
from drover.extra_spec import AGGREGATE_PREFIX, PCI_ALIAS_KEY, Aliases
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy
from drover.objects.hardware import HardwareAsk
from drover.objects.host import Resources
from drover.units import bytes_to_gib_ceil

__all__ = ["GroupRule", "PlacementSpec", "spec_of"]


_NO_HARDWARE = HardwareAsk()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """The server group of a request, as it is when the request is placed."""

    id: str
    policy: GroupPolicy
    max_per_host: int = 1
    hosts: tuple[tuple[str, int], ...] = ()  # how many members each host has, placements that leave too; by name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementSpec:
    """Two requests with equal specs are the same to every filter and weigher. Empty words ask for nothing."""

    vcpus: int  # shared ones; those of dedicated CPUs are in ``hardware``
    memory_mib: int
    disk_gib: int
    architecture: str = ""
    virt_type: str = ""
    excluded_hosts: tuple[str, ...] = ()
    project_id: str = ""
    image_id: str = ""
    availability_zone: str = ""
    required_traits: tuple[str, ...] = ()  # sorted
    forbidden_traits: tuple[str, ...] = ()  # sorted
    aggregate_specs: tuple[tuple[str, str], ...] = ()  # ``aggregate_instance_extra_specs:`` of the flavor, sorted
    image_properties: tuple[tuple[str, str], ...] = ()  # sorted
    only_hosts: tuple[str, ...] | None = None  # the forced host, or those of ``same_host``; None: any
    not_hosts: tuple[str, ...] = ()  # those of ``different_host``, sorted
    group: GroupRule | None = None
    hardware: HardwareAsk = _NO_HARDWARE
    contradiction: str = ""  # why flavor and image make no sense together: no host can help that

    @property
    def resources(self) -> Resources:
        """What is claimed."""
        return Resources(vcpus=self.vcpus, memory_mib=self.memory_mib, disk_gib=self.disk_gib)


def spec_of(waiting: Waiting, aliases: Aliases | None = None) -> PlacementSpec:
    """The request of an operation; *aliases* are those of PCI devices.

    Disk is never less than the image needs.  Nova claims nothing for a flavor without disk, although the
    guest's disk then grows to the image's size, and such guests fill hosts unseen (Nova bug 1739646); here
    they are counted at that size.
    """
    flavor, hints, group = waiting.flavor, waiting.hints, waiting.group
    wishes = _wishes(flavor, waiting.image_properties, aliases or {})
    return PlacementSpec(
        # Dedicated CPUs and huge pages are given out piece by piece, and are no part of the shared amounts.
        vcpus=0 if wishes.hardware.dedicated else flavor.vcpus,
        memory_mib=0 if wishes.hardware.page_kib else flavor.memory_mib,
        disk_gib=max(flavor.disk_gib, waiting.min_disk_gib, bytes_to_gib_ceil(waiting.virtual_size_bytes)),
        architecture=waiting.architecture,
        virt_type=flavor.extra_specs.get("virt_type", "") or waiting.virt_type,
        excluded_hosts=tuple(sorted(set(waiting.excluded_hosts))),
        project_id=waiting.project_id,
        image_id=waiting.image_id,
        availability_zone=hints.availability_zone,
        required_traits=wishes.required_traits,
        forbidden_traits=wishes.forbidden_traits,
        aggregate_specs=wishes.aggregate_specs,
        image_properties=tuple(sorted(waiting.image_properties.items())),
        only_hosts=_only_hosts(waiting),
        not_hosts=waiting.different_hosts,
        group=GroupRule(id=group.id, policy=group.policy, max_per_host=group.max_per_host, hosts=waiting.group_hosts)
        if group is not None
        else None,
        hardware=wishes.hardware,
        contradiction=wishes.contradiction,
    )


def _only_hosts(waiting: Waiting) -> tuple[str, ...] | None:
    forced, beside = waiting.hints.host, waiting.hints.same_host
    if forced and (not beside or forced in waiting.same_hosts):
        return (forced,)
    return None if not forced and not beside else () if forced else waiting.same_hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """What a flavor's extra specs and an image's properties ask for."""

    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    aggregate_specs: tuple[tuple[str, str], ...] = ()
    hardware: HardwareAsk = _NO_HARDWARE
    contradiction: str = ""


_NO_WISHES = _Wishes()


def _wishes(flavor: Flavor, image_properties: Mapping[str, str], aliases: Aliases) -> _Wishes:
    """Create refuses what makes no sense; but an image may get other properties while its instances live."""
    if not flavor.extra_specs and not image_properties:
        return _NO_WISHES
    try:
        required, forbidden = extra_spec.traits(flavor, image_properties)
        hardware = extra_spec.hardware_ask(flavor, image_properties, {**_unknown_aliases(flavor), **aliases})
    except errors.InvalidFlavor as exc:
        return _Wishes(contradiction=str(exc))
    return _Wishes(
        required_traits=required,
        forbidden_traits=forbidden,
        aggregate_specs=tuple(
            sorted(
                (key.removeprefix(AGGREGATE_PREFIX), value)
                for key, value in flavor.extra_specs.items()
                if key.startswith(AGGREGATE_PREFIX)
            )
        ),
        hardware=hardware,
    )


def _unknown_aliases(flavor: Flavor) -> Aliases:
    """What the flavor names, as aliases of no device: where it is not configured, no host has one, and says so."""
    parts = flavor.extra_specs.get(PCI_ALIAS_KEY, "").split(",")
    return {part.partition(":")[0].strip(): () for part in parts if part.strip()}

"""Flavors."""

from __future__ import annotations

from conductor.rule.wish import extra_spec_faults, named_aliases
from drover import errors
from drover.extra_spec import hardware_ask, traits
from drover.objects.catalog import Flavor
from drover.objects.name import check_name, looks_like_id

__all__ = ["check_flavor"]

#: field -> least and greatest value
BOUNDS = {
    "vcpus": (1, 256),
    "memory_mib": (4, 16 * 1024 * 1024),
    "disk_gib": (0, 1024 * 1024),  # 0: as large as the image
}


def check_flavor(flavor: Flavor) -> None:
    """:raises errors.InvalidName: its name.
    :raises errors.InvalidFlavor: anything else; the reason names each field and its bounds.
    """
    check_name(flavor.name, "flavor")
    if faults := _faults(flavor):
        raise errors.InvalidFlavor(name=flavor.name, reason="; ".join(faults))
    if flavor.extra_specs:
        hardware_ask(flavor, {}, named_aliases(flavor))
        traits(flavor, {})


def _faults(flavor: Flavor) -> list[str]:
    faults = []
    if flavor.id and not looks_like_id(flavor.id):
        faults.append(f"id {flavor.id!r} is no UUID")
    for field, (least, most) in BOUNDS.items():
        value = getattr(flavor, field)
        if not least <= value <= most:
            faults.append(f"{field} is {value}, must be {least} to {most}")
    faults.extend(extra_spec_faults(flavor.extra_specs))
    return faults

"""Flavors."""

from __future__ import annotations

from drover import errors
from drover.objects.catalog import Flavor
from drover.objects.name import check_name, looks_like_id

__all__ = ["check_flavor"]

#: field -> least and greatest value
BOUNDS = {
    "vcpus": (1, 256),
    "memory_mib": (4, 16 * 1024 * 1024),
    "disk_gib": (0, 1024 * 1024),  # 0: as large as the image
}
#: extra spec -> values it may have; an unknown one is refused, since it would promise what nobody does
EXTRA_SPECS = {"virt_type": ("kvm", "qemu", "auto")}


def check_flavor(flavor: Flavor) -> None:
    """:raises errors.InvalidName: its name.
    :raises errors.InvalidFlavor: anything else; the reason names each field and its bounds.
    """
    check_name(flavor.name, "flavor")
    if faults := _faults(flavor):
        raise errors.InvalidFlavor(name=flavor.name, reason="; ".join(faults))


def _faults(flavor: Flavor) -> list[str]:
    faults = []
    if flavor.id and not looks_like_id(flavor.id):
        faults.append(f"id {flavor.id!r} is no UUID")
    for field, (least, most) in BOUNDS.items():
        value = getattr(flavor, field)
        if not least <= value <= most:
            faults.append(f"{field} is {value}, must be {least} to {most}")
    for key, value in flavor.extra_specs.items():
        known = EXTRA_SPECS.get(key)
        if known is None:
            faults.append(f"unknown extra spec {key!r}; known: {', '.join(EXTRA_SPECS)}")
        elif value not in known:
            faults.append(f"extra spec {key} is {value!r}, must be one of {', '.join(known)}")
    return faults

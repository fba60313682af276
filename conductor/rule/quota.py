"""How much of a request a quota leaves room for."""

from __future__ import annotations

from drover import errors
from drover.objects.catalog import Flavor
from drover.objects.quota import RESOURCES, UNLIMITED, Amounts, Quota, QuotaChange

__all__ = ["LARGEST_LIMIT", "amounts_of", "check_change", "fitting"]

#: what an INTEGER column holds
LARGEST_LIMIT = 2**31 - 1


def amounts_of(flavor: Flavor, networks: int) -> Amounts:
    """What one instance counts for."""
    return Amounts(
        instances=1,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib,
        addresses=networks,
    )


def fitting(quota: Quota, each: Amounts, *, least: int, most: int) -> int:
    """How many instances of *each* there is room for, at most *most*.

    :raises errors.QuotaExceeded: fewer than *least*; names the first resource that is short.
    """
    count = most
    for name in RESOURCES:
        limit, used, one = quota.limits.of(name), quota.used.of(name), each.of(name)
        if limit == UNLIMITED or one == 0:
            continue
        if used + least * one > limit:
            raise errors.QuotaExceeded(
                project=quota.project_id, resource=name, limit=limit, used=used, asked=least * one
            )
        count = min(count, (limit - used) // one)
    return count


def check_change(change: QuotaChange) -> dict[str, int]:
    """The limits that change, by resource.

    :raises errors.BadInput: none, or one that is no limit.
    """
    changes = {name: value for name in RESOURCES if (value := getattr(change, name)) is not None}
    if not changes:
        raise errors.BadInput(reason=f"name a limit to set: {', '.join(RESOURCES)}")
    for name, value in changes.items():
        if not UNLIMITED <= value <= LARGEST_LIMIT:
            raise errors.BadInput(
                reason=f"limit {value} of {name} is not possible: {UNLIMITED} (none) to {LARGEST_LIMIT}"
            )
    return changes

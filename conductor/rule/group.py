"""Server groups."""

from __future__ import annotations

from drover import errors
from drover.objects.group import GroupPolicy, ServerGroup
from drover.objects.name import check_name, looks_like_id

__all__ = ["check_group"]

#: what an INTEGER column and a list of slots hold with ease
MOST_A_HOST = 1000


def check_group(it: ServerGroup) -> None:
    """:raises errors.InvalidName: errors.InvalidGroup: it cannot be so; the reason names the field."""
    check_name(it.name, "server group")
    if it.id and not looks_like_id(it.id):
        raise errors.InvalidGroup(name=it.name, reason=f"id {it.id!r} is no UUID")
    if not 1 <= it.max_per_host <= MOST_A_HOST:
        raise errors.InvalidGroup(
            name=it.name, reason=f"{it.max_per_host} a host is not possible, 1 to {MOST_A_HOST} are"
        )
    if it.max_per_host != 1 and it.policy is not GroupPolicy.ANTI_AFFINITY:
        raise errors.InvalidGroup(name=it.name, reason="so many a host is a rule of anti-affinity alone")

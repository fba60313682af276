"""Aggregates and availability zones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from drover import errors
from drover.objects.group import DEFAULT_ZONE, Aggregate, AggregateChange
from drover.objects.name import LONGEST_NAME, check_name, looks_like_id
from drover.units import counted

__all__ = ["changed", "check_aggregate", "check_zones"]

#: of metadata, as Nova has it for instances
MOST_METADATA = 128


def check_aggregate(it: Aggregate) -> None:
    """:raises errors.InvalidName: errors.InvalidAggregate: it cannot be so; the reason names the field."""
    check_name(it.name, "aggregate")
    if it.availability_zone:
        check_name(it.availability_zone, "availability zone")
    if it.id and not looks_like_id(it.id):
        raise errors.InvalidAggregate(name=it.name, reason=f"id {it.id!r} is no UUID")
    if len(it.metadata) > MOST_METADATA:
        raise errors.InvalidAggregate(name=it.name, reason=f"{len(it.metadata)} properties, at most {MOST_METADATA}")
    for key, value in it.metadata.items():
        if key == "availability_zone":
            raise errors.InvalidAggregate(
                name=it.name, reason="availability_zone is no property; it has its own option"
            )
        if not key or not all(len(text) <= LONGEST_NAME and (not text or text.isprintable()) for text in (key, value)):
            raise errors.InvalidAggregate(
                name=it.name, reason=f"property {key!r}: 1 to {LONGEST_NAME} printable characters, value likewise"
            )


def changed(it: Aggregate, change: AggregateChange) -> Aggregate:
    """:raises errors.InvalidAggregate: nothing is to change, or a property is set and unset."""
    if both := sorted(change.metadata.keys() & set(change.unset)):
        raise errors.InvalidAggregate(name=it.name, reason=f"property {both[0]!r} is set and unset")
    if change == AggregateChange():
        raise errors.InvalidAggregate(name=it.name, reason="name what to change")
    metadata = {key: value for key, value in it.metadata.items() if key not in change.unset} | change.metadata
    zone = it.availability_zone if change.availability_zone is None else change.availability_zone
    return replace(it, availability_zone=zone, metadata=metadata)


def check_zones(present: Mapping[str, str], others: Mapping[str, str], to: str, guests: Mapping[str, int]) -> None:
    """Whether hosts may change their availability zone, by the two rules of Nova: a host is in one at most, and what
    is placed in a zone stays in it (its request said so, and its later moves obey it).

    :param present: the zone of each host, "" for none. :param others: likewise, without the aggregate that changes.
    :param guests: how many placements hosts have.
    :raises errors.ZoneRefused: one may not.
    """
    for host, zone in sorted(present.items()):
        other = others.get(host, "")
        after = other or to
        reason = ""
        if to and other and other != to:
            reason = f"another aggregate has it in {other!r}, and a host is in one at most"
        elif after != zone and (placed := guests.get(host, 0)):
            reason = f"it has {counted(placed, 'guest')}, which stay in their zone"
        if reason:
            present_, wanted = zone or DEFAULT_ZONE, to or DEFAULT_ZONE
            raise errors.ZoneRefused(host=host, present=present_, wanted=wanted, reason=reason)

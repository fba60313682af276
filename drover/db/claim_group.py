"""The rules of server groups, as claims keep them.

A decision knows its group as it was.  A claim therefore raises the group's generation first, which makes every
other claim of a member wait, and judges by the allocations that are there then, those that leave included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, update

from drover.db.bulk import among, listed
from drover.db.schema import allocation, server_group
from drover.objects.group import GroupPolicy, ServerGroup

__all__ = ["FREE", "Groups", "Member", "Seat"]

_STRICT = frozenset({GroupPolicy.AFFINITY, GroupPolicy.ANTI_AFFINITY})


@dataclass(frozen=True, slots=True)
class Member:
    """An allocation of a group."""

    instance_uuid: str
    epoch: int
    host: str
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """What an allocation has of its group's rule."""

    group_id: str = ""
    slot: int | None = None


#: bound by no rule
FREE = Seat()


class Groups:
    """Groups whose rules bind this transaction's claims, held until it ends."""

    def __init__(self, conn: Connection, groups: Iterable[ServerGroup]) -> None:
        # A soft rule is a matter of weights: nothing can break it, so nobody needs to wait.
        strict = {group.id for group in groups if group.policy in _STRICT}
        held = set(conn.execute(_HOLD, {"ids": listed(strict)}).scalars()) if strict else set()
        self._gone = strict - held
        self._members: dict[str, list[Member]] = {id_: [] for id_ in held}
        for row in conn.execute(_MEMBERS, {"ids": listed(held)}) if held else ():
            member = Member(row.instance_uuid, row.epoch, row.host, row.group_slot)
            self._members[row.group_id].append(member)

    def seat(self, group: ServerGroup | None, host: str, instance_uuid: str, epoch: int) -> Seat | None:
        """What a member gets on *host*; None when the rule keeps it off."""
        if group is None or group.id in self._gone:  # whose group was deleted is bound no more
            return FREE
        # The claim itself, made before and not given back, is not in its own way.
        others = [
            member
            for member in self._members.get(group.id, ())
            if (member.instance_uuid, member.epoch) != (instance_uuid, epoch)
        ]
        if group.policy is GroupPolicy.AFFINITY:
            elsewhere = any(each.host != host for each in others if each.instance_uuid != instance_uuid)
            return None if elsewhere else Seat(group.id)
        if group.policy is GroupPolicy.ANTI_AFFINITY:
            taken = {member.slot for member in others if member.host == host}
            slot = next((slot for slot in range(group.max_per_host) if slot not in taken), None)
            return None if slot is None else Seat(group.id, slot)
        return Seat(group.id)

    def take(self, seat: Seat, host: str, instance_uuid: str, epoch: int) -> None:
        """*seat* is given away."""
        if seat.group_id in self._members:
            self._members[seat.group_id].append(Member(instance_uuid, epoch, host, seat.slot))


_IN_ORDER = select(server_group.c.id).where(among(server_group.c.id, bindparam("ids")))
_HOLD = (
    update(server_group)
    .where(server_group.c.id.in_(_IN_ORDER.order_by(server_group.c.id).with_for_update(key_share=True)))
    .values(generation=server_group.c.generation + 1)
    .returning(server_group.c.id)
)
_A = allocation.c
_MEMBERS = select(_A.group_id, _A.instance_uuid, _A.epoch, _A.host, _A.group_slot).where(
    among(_A.group_id, bindparam("ids")), _A.group_id != ""
)

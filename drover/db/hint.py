"""What hints of requests mean now: the group they name, and where its members and other instances are.

Asked only for requests that have such hints; a statement each for groups, their members, and the
instances that hints name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from drover.clock import from_iso
from drover.db.bulk import among, listed
from drover.db.schema import allocation, server_group
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.states import PlacementState

__all__ = ["NOWHERE", "Whereabouts", "whereabouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Of one request. *group_hosts*: see :class:`drover.db.waiting.Waiting`."""

    group: ServerGroup | None = None  # without its members; None: it has none, or that was deleted
    group_hosts: tuple[tuple[str, int], ...] = ()
    same_hosts: tuple[str, ...] = ()
    different_hosts: tuple[str, ...] = ()


NOWHERE = Whereabouts()


def whereabouts(conn: Connection, hints_of: Mapping[str, Hints]) -> dict[str, Whereabouts]:
    """By instance uuid, for *hints_of* by instance uuid."""
    group_ids = {hints.group for hints in hints_of.values() if hints.group}
    groups = {row.id: _group(row) for row in conn.execute(_GROUPS, {"ids": listed(group_ids)})} if group_ids else {}
    members: dict[str, list[tuple[str, str]]] = {}  # (instance, host) by group
    for row in conn.execute(_MEMBERS, {"ids": listed(groups)}) if groups else ():
        members.setdefault(row.group_id, []).append((row.instance_uuid, row.host))
    named = {uuid for hints in hints_of.values() for uuid in (*hints.same_host, *hints.different_host)}
    placed: dict[str, list[tuple[str, bool]]] = {}  # (host, leaving) by instance
    for row in conn.execute(_PLACED, {"uuids": listed(named)}) if named else ():
        placed.setdefault(row.instance_uuid, []).append((row.host, row.state == _LEAVING))
    return {
        uuid: Whereabouts(
            group=(group := groups.get(hints.group)),
            group_hosts=_hosts_of(group, members.get(hints.group, []), uuid) if group else (),
            same_hosts=_hosts(placed, hints.same_host, leaving=False),
            different_hosts=_hosts(placed, hints.different_host, leaving=True),
        )
        for uuid, hints in hints_of.items()
    }


def _group(row: Row[Any]) -> ServerGroup:
    return ServerGroup(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        policy=GroupPolicy(row.policy),
        max_per_host=row.max_per_host,
        created_at=from_iso(row.created_at),
    )


def _hosts_of(group: ServerGroup, members: Iterable[tuple[str, str]], uuid: str) -> tuple[tuple[str, int], ...]:
    """What an instance leaves behind takes up its slot still, but does not bind it to that host."""
    own = group.policy is GroupPolicy.ANTI_AFFINITY
    return tuple(sorted(Counter(host for member, host in members if own or member != uuid).items()))


def _hosts(placed: Mapping[str, list[tuple[str, bool]]], uuids: Iterable[str], *, leaving: bool) -> tuple[str, ...]:
    return tuple(sorted({host for uuid in uuids for host, leaves in placed.get(uuid, ()) if leaving or not leaves}))


_LEAVING = PlacementState.LEAVING.value
_A = allocation.c
_GROUPS = select(server_group).where(among(server_group.c.id, bindparam("ids")))
_MEMBERS = select(_A.group_id, _A.instance_uuid, _A.host).where(among(_A.group_id, bindparam("ids")))
_PLACED = select(_A.instance_uuid, _A.host, _A.state).where(among(_A.instance_uuid, bindparam("uuids")))

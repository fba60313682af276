"""Server groups and their members. Rows in, values out; references are ids or names, of one project.

A member is an instance that is not deleted.  Rows of deleted instances may stay for a while: whoever reads members
leaves them out, and they go when the group gets new members, or with the instance's record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, or_, select

from drover import errors
from drover.clock import from_iso, to_iso
from drover.db.bulk import insert_rows
from drover.db.schema import instance, server_group, server_group_member
from drover.objects.group import GroupPolicy, ServerGroup

__all__ = ["add", "add_members", "get", "list_all", "remove"]


def add(conn: Connection, new: ServerGroup) -> None:
    """Insert *new* (``created_at`` set), without members.

    :raises errors.NameTaken: the project has one of this name, or one has this id; the transaction must end.
    """
    assert new.created_at is not None, "whoever creates it says when"
    row = {
        "id": new.id,
        "project_id": new.project_id,
        "name": new.name,
        "policy": new.policy.value,
        "max_per_host": new.max_per_host,
        "generation": 0,
        "created_at": to_iso(new.created_at),
    }
    try:
        conn.execute(insert(server_group), row)
    except errors.StoreConflict as exc:
        taken = {"uq_server_group_project_id_name": new.name, "pk_server_group": new.id}
        if (name := taken.get(str(exc.kwargs["constraint"]))) is not None:
            raise errors.NameTaken(what="server group", name=name) from exc
        raise


def get(conn: Connection, project_id: str, ref: str) -> ServerGroup:
    """With its members.

    :raises errors.ServerGroupNotFound: the project has none of this id or name.
    """
    g = server_group.c
    rows = conn.execute(select(server_group).where(g.project_id == project_id, or_(g.id == ref, g.name == ref))).all()
    row = min(rows, key=lambda row: row.id != ref, default=None)
    if row is None:
        raise errors.ServerGroupNotFound(ref=ref)
    return _value(row, _members(conn, project_id).get(row.id, ()))


def list_all(conn: Connection, project_id: str) -> tuple[ServerGroup, ...]:
    """All of the project, by name."""
    members = _members(conn, project_id)
    rows = conn.execute(
        select(server_group).where(server_group.c.project_id == project_id).order_by(server_group.c.name)
    )
    return tuple(_value(row, members.get(row.id, ())) for row in rows)


def _members(conn: Connection, project_id: str) -> dict[str, tuple[str, ...]]:
    """Uuids by group id."""
    m = server_group_member.c
    query = (
        select(m.group_id, m.instance_uuid)
        .join(server_group, server_group.c.id == m.group_id)
        .join(instance, instance.c.uuid == m.instance_uuid)
        .where(server_group.c.project_id == project_id, instance.c.deleted_at.is_(None))
        .order_by(m.instance_uuid)
    )
    found: dict[str, list[str]] = {}
    for row in conn.execute(query):
        found.setdefault(row.group_id, []).append(row.instance_uuid)
    return {group: tuple(uuids) for group, uuids in found.items()}


def _value(row: Row[Any], members: tuple[str, ...]) -> ServerGroup:
    return ServerGroup(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        policy=GroupPolicy(row.policy),
        max_per_host=row.max_per_host,
        members=members,
        created_at=from_iso(row.created_at),
    )


def add_members(conn: Connection, group_id: str, uuids: Iterable[str]) -> None:
    """In the transaction that makes the instances.

    :raises drover.errors.StoreConflict: somebody deleted the group meanwhile; the transaction must end.
    """
    m = server_group_member.c
    dead = exists().where(instance.c.uuid == m.instance_uuid, instance.c.deleted_at.is_not(None))
    conn.execute(delete(server_group_member).where(m.group_id == group_id, dead))
    insert_rows(conn, server_group_member, [{"group_id": group_id, "instance_uuid": uuid} for uuid in sorted(uuids)])


def remove(conn: Connection, group_id: str) -> None:
    """With its members' rows: their instances stay and lose the rule.

    :raises drover.errors.StoreConflict: it got a member meanwhile; do it again.
    """
    conn.execute(delete(server_group_member).where(server_group_member.c.group_id == group_id))
    conn.execute(delete(server_group).where(server_group.c.id == group_id))

"""Quotas: limits are rows, use is counted from the instances themselves, so that it can never drift from them.

A create holds its project's row until it commits, then counts: so creates of one project go one after the other, and
each sees what those before it made.  The row is the first lock that a create takes (then idempotency keys, networks in
order of id, instances); several projects in one transaction are taken in order of their names.  A project without a
row pays nothing: :func:`flavor_for` finds that out with the flavor.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, literal, or_, select, update

from drover import errors
from drover.db.catalog import to_flavor
from drover.db.engine import insert_ignore
from drover.db.schema import flavor, instance, port, quota
from drover.objects import codec
from drover.objects.catalog import Flavor
from drover.objects.quota import RESOURCES, UNLIMITED, Amounts, Quota

__all__ = ["flavor_for", "get", "hold", "list_all", "put"]


def flavor_for(conn: Connection, project_id: str, ref: str) -> tuple[Flavor, bool]:
    """A flavor by id or name, and whether *project_id* has a quota: one read.

    :raises errors.FlavorNotFound: no flavor has this id or name.
    """
    row = conn.execute(_FLAVOR_FOR, {"ref": ref, "project": project_id}).first()
    if row is None:
        raise errors.FlavorNotFound(ref=ref)
    return to_flavor(row), row.limited is not None


_FLAVOR_FOR = (
    select(flavor, quota.c.project_id.label("limited"))
    .select_from(flavor.outerjoin(quota, quota.c.project_id == bindparam("project")))
    .where(or_(flavor.c.id == bindparam("ref"), flavor.c.name == bindparam("ref")))
    .order_by((flavor.c.id == bindparam("ref")).desc())
    .limit(1)
)


def hold(conn: Connection, project_id: str) -> Quota:
    """Keep other creates of the project waiting until this transaction ends; its limits, and its use as of now."""
    # A lock by writing, and the count in a statement after it: under READ COMMITTED that sees every commit before.
    row = conn.execute(_HOLD, {"project": project_id}).first()
    return Quota(project_id=project_id, limits=_limits(row), used=_used(conn, project_id))


_HOLD = (
    update(quota)
    .where(quota.c.project_id == bindparam("project"))
    .values(generation=quota.c.generation + 1)
    .returning(quota)
)


def put(conn: Connection, project_id: str, limits: dict[str, int]) -> None:
    """Set some limits of a project. Creates that hold its row come first."""
    unlimited = dict.fromkeys(RESOURCES, UNLIMITED)
    conn.execute(insert_ignore(conn, quota), [{"project_id": project_id, "generation": 0, **unlimited}])
    conn.execute(update(quota).where(quota.c.project_id == project_id).values(**limits))


def get(conn: Connection, project_id: str) -> Quota:
    """Of any project; one that nobody limited, or that has nothing, is no error."""
    row = conn.execute(select(quota).where(quota.c.project_id == project_id)).first()
    return Quota(project_id=project_id, limits=_limits(row), used=_used(conn, project_id))


def list_all(conn: Connection) -> tuple[Quota, ...]:
    """Projects whose limits somebody set, by name."""
    rows = conn.execute(select(quota).order_by(quota.c.project_id)).all()
    return tuple(
        Quota(project_id=row.project_id, limits=_limits(row), used=_used(conn, row.project_id)) for row in rows
    )


def _limits(row: Row[Any] | None) -> Amounts:
    found = row._mapping if row is not None else {}  # noqa: SLF001  SQLAlchemy's name for it
    return Amounts(**{name: found.get(name, UNLIMITED) for name in RESOURCES})


def _used(conn: Connection, project_id: str) -> Amounts:
    """Flavors are kept with their instances as they were, so a project has few different ones."""
    used = Amounts()
    for row in conn.execute(_USED, {"project": project_id}):
        kind = codec.from_json(row.flavor, Flavor)
        one = Amounts(instances=1, vcpus=kind.vcpus, memory_mib=kind.memory_mib, disk_gib=kind.disk_gib)
        used = used.plus(one, row.instances).plus(Amounts(addresses=int(row.addresses)))
    return used


_PORTS = select(func.count()).where(port.c.instance_uuid == instance.c.uuid).correlate(instance).scalar_subquery()
_USED = (
    select(instance.c.flavor, func.count(literal(1)).label("instances"), func.sum(_PORTS).label("addresses"))
    .where(instance.c.project_id == bindparam("project"), instance.c.deleted_at.is_(None))
    .group_by(instance.c.flavor)
)

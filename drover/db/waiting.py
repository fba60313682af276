"""What waits for a host: operations in ``scheduling``, with all that decides where their instances may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select

from drover.db.bulk import among, listed
from drover.db.hint import NOWHERE, Whereabouts, whereabouts
from drover.db.schema import image, instance, operation
from drover.objects import codec
from drover.objects.catalog import Flavor
from drover.objects.group import Hints, ServerGroup
from drover.states import OperationState

__all__ = ["Waiting", "scheduling", "together", "waiting", "waiting_of"]

_SCHEDULING = OperationState.SCHEDULING.value
_NO_HINTS = Hints()
_NO_PARAMS: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An operation in ``scheduling`` with what decides where its instance may go."""

    operation_id: str
    attempt: int
    instance_uuid: str
    instance_name: str
    request_id: str
    flavor: Flavor
    excluded_hosts: tuple[str, ...] = ()
    architecture: str = ""
    virt_type: str = ""  # the image's
    min_disk_gib: int = 0
    virtual_size_bytes: int = 0
    project_id: str = ""
    image_id: str = ""
    image_properties: dict[str, str] = field(default_factory=dict)
    hints: Hints = _NO_HINTS
    group: ServerGroup | None = None  # that of the hints, without its members
    # How many members each host has, by name; placements that leave count too. What this very instance leaves
    # behind counts only against anti-affinity.
    group_hosts: tuple[tuple[str, int], ...] = ()
    same_hosts: tuple[str, ...] = ()  # where the instances of ``hints.same_host`` are, sorted
    different_hosts: tuple[str, ...] = ()  # where those of ``hints.different_host`` are, or leave something, sorted
    count: int = 1  # operations of its request, which are decided together; 1 after its first attempt
    min_count: int = 1  # of these so many find hosts, or none does
    waits: str = ""  # for room, after its first attempt was refused with these words


def scheduling(conn: Connection, limit: int) -> list[str]:
    """Ids of operations that wait for a host, oldest first."""
    query = (
        select(operation.c.id)
        .where(operation.c.unfinished == 1, operation.c.state == _SCHEDULING)
        .order_by(operation.c.created_at, operation.c.id)
    )
    return list(conn.execute(query.limit(limit)).scalars())


_WAITING = (
    select(
        operation.c.id,
        operation.c.attempt,
        operation.c.instance_uuid,
        operation.c.instance_name,
        operation.c.request_id,
        operation.c.excluded_hosts,
        operation.c.project_id,
        operation.c.params,
        operation.c.waits,
        instance.c.flavor,
        instance.c.image_id,
        instance.c.hints,
        image.c.architecture,
        image.c.virt_type,
        image.c.min_disk_gib,
        image.c.virtual_size_bytes,
        image.c.properties,
    )
    .join(instance, instance.c.uuid == operation.c.instance_uuid)
    .outerjoin(image, image.c.id == instance.c.image_id)
    .where(among(operation.c.id, bindparam("ids")), operation.c.state == _SCHEDULING)
    .order_by(operation.c.created_at, operation.c.id)
)


def waiting(conn: Connection, operation_ids: Iterable[str]) -> list[Waiting]:
    """Those of *operation_ids* that wait for a host, oldest first."""
    return waiting_of(conn, conn.execute(_WAITING, {"ids": listed(operation_ids)}).all())


def together(conn: Connection, found: Iterable[Waiting]) -> set[str]:
    """Ids of operations that wait and are of requests of which *found* has some, but not all."""
    here = Counter((each.request_id, each.count) for each in found if each.count > 1)
    partly = {request_id for (request_id, count), have in here.items() if have < count}
    return set(conn.execute(_OF_REQUESTS, {"ids": listed(partly)}).scalars()) if partly else set()


_OF_REQUESTS = select(operation.c.id).where(
    operation.c.unfinished == 1,
    operation.c.state == _SCHEDULING,
    operation.c.attempt == 1,
    among(operation.c.request_id, bindparam("ids")),
)


def waiting_of(conn: Connection, rows: Sequence[Any]) -> list[Waiting]:
    """Rows with the columns of :func:`waiting` as values."""
    # Each text is read once: of many that wait, most want the same.
    flavors = {text: codec.from_json(text, Flavor) for text in {row.flavor for row in rows}}
    wishes = {text: codec.from_json(text, Hints) for text in {row.hints for row in rows if row.hints}}
    hints = {row.instance_uuid: wishes[row.hints] for row in rows if row.hints}
    places = whereabouts(conn, hints) if hints else {}
    return [
        _waiting(row, flavors[row.flavor], hints.get(row.instance_uuid), places.get(row.instance_uuid, NOWHERE))
        for row in rows
    ]


def _waiting(row: Any, flavor: Flavor, hints: Hints | None, place: Whereabouts) -> Waiting:
    first = row.attempt == 1
    params = codec.from_json(row.params, dict[str, str]) if first and row.params != "{}" else _NO_PARAMS
    return Waiting(
        operation_id=row.id,
        attempt=row.attempt,
        instance_uuid=row.instance_uuid,
        instance_name=row.instance_name,
        request_id=row.request_id,
        flavor=flavor,
        excluded_hosts=codec.from_json(row.excluded_hosts, tuple[str, ...]),
        architecture=row.architecture or "",
        virt_type=row.virt_type or "",
        min_disk_gib=row.min_disk_gib or 0,
        virtual_size_bytes=row.virtual_size_bytes or 0,
        project_id=row.project_id,
        image_id=row.image_id,
        image_properties=codec.from_json(row.properties, dict[str, str]) if row.properties not in _EMPTY else {},
        hints=hints or _NO_HINTS,
        group=place.group,
        group_hosts=place.group_hosts,
        same_hosts=place.same_hosts,
        different_hosts=place.different_hosts,
        count=int(params.get("count", 1)),
        min_count=int(params.get("min_count", 1)),
        waits=row.waits if first else "",
    )


#: image properties that need no reading; NULL: no such image
_EMPTY = (None, "", "{}")

"""What is asked of a host by those who do not wait for one: operations whatever their state, guests, and nobody yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, literal, select

from drover import errors
from drover.db import catalog, server_group
from drover.db import image as images
from drover.db import instance as instances
from drover.db.bulk import among, listed
from drover.db.hint import whereabouts
from drover.db.schema import allocation, image, instance, operation
from drover.db.waiting import Waiting, waiting_of
from drover.objects.catalog import Image
from drover.objects.group import Hints
from drover.objects.host import Resources
from drover.objects.selection import SelectionRequest
from drover.states import Action, PlacementState, VmState

__all__ = ["Placed", "of_guests", "of_operation", "of_request", "placements_of", "recent"]

_A, _I, _O = allocation.c, instance.c, operation.c
_ASKED = (
    _I.flavor,
    _I.image_id,
    _I.hints,
    image.c.architecture,
    image.c.virt_type,
    image.c.min_disk_gib,
    image.c.virtual_size_bytes,
    image.c.properties,
)


_OPERATIONS = (
    select(_O.id, _O.attempt, _O.instance_uuid, _O.instance_name, _O.request_id, _O.excluded_hosts, _O.project_id)
    .add_columns(_O.params, _O.waits, *_ASKED)
    .join(instance, _I.uuid == _O.instance_uuid)
    .outerjoin(image, image.c.id == _I.image_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a placement holds."""

    host: str
    amount: Resources
    hardware: str = ""  # JSON of HardwareClaim, "" for none


def of_operation(conn: Connection, operation_id: str) -> Waiting:
    """:raises errors.OperationNotFound: there is none, or its instance's record is gone."""
    found = waiting_of(conn, conn.execute(_OPERATIONS.where(_O.id == operation_id)).all())
    if not found:
        raise errors.OperationNotFound(ref=operation_id)
    return found[0]


def recent(conn: Connection, actions: Collection[Action], limit: int) -> list[tuple[Waiting, Placed | None]]:
    """The newest *limit* operations of these kinds, oldest first, each with the placement that it made and still has."""
    newest = _OPERATIONS.add_columns(_A.host, _A.vcpus, _A.memory_mib, _A.disk_gib, _A.hardware).outerjoin(
        allocation,
        and_(
            _A.instance_uuid == _O.instance_uuid,
            _A.operation_id == _O.id,
            _A.state != PlacementState.LEAVING.value,
        ),
    )
    newest = newest.where(_O.action.in_(sorted(actions))).order_by(_O.created_at.desc(), _O.id.desc()).limit(limit)
    rows = conn.execute(newest).all()[::-1]
    return [(wanted, _placed(row)) for wanted, row in zip(waiting_of(conn, rows), rows, strict=True)]


def _placed(row: Any) -> Placed | None:
    return None if row.host is None else _held(row)


def _held(row: Any) -> Placed:
    amount = Resources(vcpus=row.vcpus, memory_mib=row.memory_mib, disk_gib=row.disk_gib)
    return Placed(host=row.host, amount=amount, hardware=row.hardware)


def placements_of(conn: Connection, instance_uuid: str) -> list[Placed]:
    """What an instance holds, by host; placements that leave do not count."""
    query = select(_A.host, _A.vcpus, _A.memory_mib, _A.disk_gib, _A.hardware)
    query = query.where(_A.instance_uuid == instance_uuid, _A.state != PlacementState.LEAVING.value)
    return [_held(row) for row in conn.execute(query.order_by(_A.host))]


def of_guests(conn: Connection, hosts: Collection[str]) -> list[tuple[str, Waiting]]:
    """Guests of *hosts* that are active or stopped and at rest, each with its host, by uuid."""
    rows = conn.execute(_guests(hosts)).all()
    return list(zip((row.host for row in rows), waiting_of(conn, rows), strict=True))


def _guests(hosts: Collection[str]) -> Select[Any]:
    busy = exists().where(_O.instance_uuid == _I.uuid, _O.unfinished == 1)
    return (
        select(
            _A.host,
            literal("").label("id"),
            literal(0).label("attempt"),
            _I.uuid.label("instance_uuid"),
            _I.name.label("instance_name"),
            literal("").label("request_id"),
            literal("[]").label("excluded_hosts"),
            literal("{}").label("params"),
            literal("").label("waits"),
            _I.project_id,
        )
        .add_columns(*_ASKED)
        .join(instance, _I.uuid == _A.instance_uuid)
        .outerjoin(image, image.c.id == _I.image_id)
        .where(
            among(_A.host, listed(hosts)),
            _A.state == PlacementState.ACTIVE.value,
            _I.vm_state.in_((VmState.ACTIVE.value, VmState.STOPPED.value)),
            ~busy,
        )
        .order_by(_I.uuid)
    )


def of_request(conn: Connection, project_id: str, request: SelectionRequest) -> Waiting:
    """As an instance of *project_id* would ask it.

    :raises errors.DroverError: FlavorNotFound, ImageNotFound, ServerGroupNotFound, InstanceNotFound, AmbiguousName.
    """
    flavor = catalog.get_flavor(conn, request.flavor)
    source = images.resolve(conn, request.image) if request.image else _ANY
    hints = _resolved(conn, project_id, request.hints)
    place = whereabouts(conn, {"": hints})[""]
    return Waiting(
        operation_id="",
        attempt=0,
        instance_uuid="",
        instance_name="",
        request_id="",
        flavor=flavor,
        architecture=source.architecture,
        virt_type=source.virt_type,
        min_disk_gib=source.min_disk_gib,
        virtual_size_bytes=source.virtual_size_bytes,
        project_id=project_id,
        image_id=source.id,
        image_properties=source.properties,
        hints=hints,
        group=place.group,
        group_hosts=place.group_hosts,
        same_hosts=place.same_hosts,
        different_hosts=place.different_hosts,
    )


#: asks for nothing
_ANY = Image(id="", name="", architecture="")


def _resolved(conn: Connection, project_id: str, hints: Hints) -> Hints:
    """With ids where there were names."""

    def uuids(refs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(instances.resolve(conn, ref, project_id=project_id).uuid for ref in refs)

    return Hints(
        group=server_group.get(conn, project_id, hints.group).id if hints.group else "",
        availability_zone=hints.availability_zone,
        host=hints.host,
        same_host=uuids(hints.same_host),
        different_host=uuids(hints.different_host),
    )

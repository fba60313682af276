"""From operations to the orders that go to hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection

from drover.db import guest, image, placement
from drover.objects.catalog import Image
from drover.objects.guest import GuestSpec, ImageSource, UploadTarget
from drover.objects.operation import Operation
from drover.objects.placement import Placement
from drover.objects.sync import Order
from drover.states import VERBS, Action, PlacementState

__all__ = ["OrderBook"]


class OrderBook:
    """Writes orders out of rows.

    :param image_source: where a host gets an image's bytes; makes the depot's token.
    :param upload_target: where a host sends the bytes of the image of this id, with leave for so many seconds.
    """

    def __init__(
        self,
        deployment_id: str,
        image_source: Callable[[Image], ImageSource],
        upload_target: Callable[[str, float], UploadTarget],
    ) -> None:
        self._deployment_id = deployment_id
        self._image_source = image_source
        self._upload_target = upload_target

    def hand_out(self, conn: Connection, operations: Sequence[Operation]) -> list[Order]:
        """Orders for dispatched or running *operations*; placements that were made for them go from reserved to held.

        A build whose placement is not there, or leaving, gives no order: the reaper settles it.
        """
        if not operations:
            return []
        placements = placement.find_of_instances(conn, (op.instance_uuid for op in operations))
        parts = guest.gather(conn, (op.instance_uuid for op in operations if op.action is not Action.DELETE))
        rescue = [op.params["image_id"] for op in operations if op.action is Action.RESCUE]
        rescue_images = image.get_many(conn, rescue) if rescue else {}
        orders: list[Order] = []
        held: list[tuple[str, str, int]] = []
        for op in operations:
            here = [
                p
                for p in placements.get(op.instance_uuid, ())
                if p.host == op.host and (p.state is not PlacementState.LEAVING or op.action is Action.DELETE)
            ]
            if not here:
                continue
            if VERBS[op.action].places:
                held.append((op.instance_uuid, op.host, here[-1].epoch))
            orders.append(self._order(op, here[-1], parts.get(op.instance_uuid), rescue_images))
        placement.move(conn, held, PlacementState.HELD, of=(PlacementState.RESERVED,))
        return orders

    def _order(
        self, op: Operation, place: Placement, parts: guest.Parts | None, rescue_images: Mapping[str, Image]
    ) -> Order:
        rescue = rescue_images.get(op.params["image_id"]) if op.action is Action.RESCUE else None
        upload = None
        if VERBS[op.action].uploads:
            upload = self._upload_target(op.params["image_id"], op.run_budget_s)
        return Order(
            operation_id=op.id,
            attempt=op.attempt,
            action=op.action,
            instance_uuid=op.instance_uuid,
            epoch=place.epoch,
            params=op.params,
            spec=self._spec(parts, place) if parts else None,
            rescue_image=self._image_source(rescue) if rescue else None,
            upload=upload,
            budget_s=op.run_budget_s,
            request_id=op.request_id,
        )

    def _spec(self, parts: guest.Parts, place: Placement) -> GuestSpec:
        i = parts.instance
        return GuestSpec(
            deployment_id=self._deployment_id,
            uuid=i.uuid,
            epoch=place.epoch,
            name=i.name,
            hostname=i.name,
            project_id=i.project_id,
            user_id=i.user_id,
            flavor_name=i.flavor.name,
            vcpus=i.flavor.vcpus,
            memory_mib=i.flavor.memory_mib,
            disk_gib=i.flavor.disk_gib,
            virt_type=i.flavor.extra_specs.get("virt_type", "") or parts.image.virt_type,
            image=self._image_source(parts.image),
            ports=parts.ports,
            ssh_keys=parts.secret.ssh_keys,
            user_data=parts.secret.user_data,
            metadata=i.metadata,
            hardware=place.hardware,
        )

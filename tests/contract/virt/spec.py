"""Guests and orders for tests, small and complete."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from drover.objects.guest import GuestSpec, ImageSource
from drover.objects.sync import Order
from drover.states import Action

__all__ = ["DEPLOYMENT", "OTHER_DEPLOYMENT", "make_order", "make_spec", "some_uuid"]

DEPLOYMENT = "11111111-1111-4111-8111-111111111111"
OTHER_DEPLOYMENT = "22222222-2222-4222-8222-222222222222"


def some_uuid(number: int) -> str:
    """The same uuid for the same number."""
    return str(uuid.UUID(int=0xA000_0000_0000_4000_8000_0000_0000_0000 + number))


def make_spec(number: int = 1, **changes: Any) -> GuestSpec:
    """A guest without ports, of the first epoch."""
    spec = GuestSpec(
        deployment_id=DEPLOYMENT,
        uuid=some_uuid(number),
        epoch=1,
        name=f"guest-{number}",
        hostname=f"guest-{number}",
        project_id="default",
        user_id="admin",
        flavor_name="tiny",
        vcpus=1,
        memory_mib=16,
        disk_gib=0,
        image=ImageSource(
            id=some_uuid(999), format="raw", sha256="", size_bytes=512, virtual_size_bytes=512, url="file:///none"
        ),
    )
    return replace(spec, **changes)


def make_order(action: Action, spec: GuestSpec, **changes: Any) -> Order:
    """An order of its own operation for each action and guest."""
    order = Order(
        operation_id=f"{action}-{spec.name}",
        attempt=1,
        action=action,
        instance_uuid=spec.uuid,
        epoch=spec.epoch,
        spec=spec,
        budget_s=60.0,
    )
    return replace(order, **changes)

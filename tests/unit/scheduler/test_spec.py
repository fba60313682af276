from __future__ import annotations

from typing import Any

import pytest

from drover.db.claim import Waiting
from drover.objects.catalog import Flavor
from drover.units import GIB
from scheduler.spec import PlacementSpec, spec_of


def waiting(*, disk_gib: int = 10, extra_specs: dict[str, str] | None = None, **facts: Any) -> Waiting:
    flavor = Flavor(id="f", name="f", vcpus=2, memory_mib=512, disk_gib=disk_gib, extra_specs=extra_specs or {})
    return Waiting(
        operation_id="o", attempt=1, instance_uuid="i", instance_name="n", request_id="r", flavor=flavor, **facts
    )


def test_asks_for_what_the_flavor_says() -> None:
    found = spec_of(waiting(architecture="x86_64", excluded_hosts=("b", "a", "b")))
    assert found == PlacementSpec(
        vcpus=2, memory_mib=512, disk_gib=10, architecture="x86_64", excluded_hosts=("a", "b")
    )


@pytest.mark.parametrize(
    ("flavor_gib", "facts", "disk_gib"),
    [
        (10, {"virtual_size_bytes": 2 * GIB}, 10),
        (0, {"virtual_size_bytes": 2 * GIB + 1}, 3),
        (0, {"min_disk_gib": 4, "virtual_size_bytes": 2 * GIB}, 4),
        (1, {"virtual_size_bytes": 2 * GIB}, 2),
        (0, {}, 0),
    ],
)
def test_disk_is_never_less_than_the_image_needs(flavor_gib: int, facts: dict[str, Any], disk_gib: int) -> None:
    assert spec_of(waiting(disk_gib=flavor_gib, **facts)).disk_gib == disk_gib


@pytest.mark.parametrize(
    ("extra_specs", "of_image", "wanted"),
    [({}, "", ""), ({}, "kvm", "kvm"), ({"virt_type": "qemu"}, "kvm", "qemu"), ({"virt_type": ""}, "kvm", "kvm")],
)
def test_the_flavors_virt_type_goes_before_the_images(extra_specs: dict[str, str], of_image: str, wanted: str) -> None:
    assert spec_of(waiting(extra_specs=extra_specs, virt_type=of_image)).virt_type == wanted

from __future__ import annotations

from typing import Any

import pytest

from drover.db.waiting import Waiting
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.objects.hardware import CellAsk, DeviceAsk, HardwareAsk
from drover.units import GIB
from scheduler.spec import GroupRule, PlacementSpec, spec_of


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


def test_wishes_of_flavor_image_and_hints() -> None:
    found = spec_of(
        waiting(
            extra_specs={
                "trait:HW_CPU_X86_AVX2": "required",
                "aggregate_instance_extra_specs:ssd": "true",
                "aggregate_instance_extra_specs:cores": ">= 8",
            },
            image_properties={"trait:CUSTOM_SLOW": "forbidden", "os_distro": "debian"},
            project_id="p",
            image_id="i",
            hints=Hints(availability_zone="east", different_host=("i-1",)),
            different_hosts=("a", "b"),
        )
    )
    assert found == PlacementSpec(
        vcpus=2,
        memory_mib=512,
        disk_gib=10,
        project_id="p",
        image_id="i",
        availability_zone="east",
        required_traits=("HW_CPU_X86_AVX2",),
        forbidden_traits=("CUSTOM_SLOW",),
        aggregate_specs=(("cores", ">= 8"), ("ssd", "true")),
        image_properties=(("os_distro", "debian"), ("trait:CUSTOM_SLOW", "forbidden")),
        not_hosts=("a", "b"),
    )


@pytest.mark.parametrize(
    ("hints", "same_hosts", "only"),
    [
        (Hints(), (), None),
        (Hints(host="a"), (), ("a",)),
        (Hints(same_host=("i-1",)), ("a", "b"), ("a", "b")),
        (Hints(same_host=("i-1",)), (), ()),
        (Hints(host="b", same_host=("i-1",)), ("a", "b"), ("b",)),
        (Hints(host="c", same_host=("i-1",)), ("a", "b"), ()),
    ],
)
def test_a_forced_host_must_be_among_the_same_hosts(
    hints: Hints, same_hosts: tuple[str, ...], only: tuple[str, ...] | None
) -> None:
    assert spec_of(waiting(hints=hints, same_hosts=same_hosts)).only_hosts == only


def test_the_group_with_its_members() -> None:
    group = ServerGroup(id="g", name="n", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=2)
    assert spec_of(waiting(group=group, group_hosts=(("a", 1),))).group == GroupRule(
        id="g", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=2, hosts=(("a", 1),)
    )


@pytest.mark.parametrize(
    ("extra_specs", "amounts"),
    [
        ({"hw:numa_nodes": "1"}, (2, 512)),
        ({"hw:cpu_policy": "dedicated"}, (0, 512)),
        ({"hw:mem_page_size": "2048"}, (2, 0)),
        ({"hw:mem_page_size": "large", "hw:cpu_policy": "dedicated"}, (0, 0)),
    ],
)
def test_what_is_given_out_in_pieces_is_no_shared_amount(extra_specs: dict[str, str], amounts: tuple[int, int]) -> None:
    found = spec_of(waiting(extra_specs=extra_specs))
    assert (found.vcpus, found.memory_mib) == amounts
    assert found.hardware.cells == (CellAsk(vcpus=2, memory_mib=512),)


def test_an_alias_that_nobody_configured_is_a_device_that_no_host_has() -> None:
    asked = waiting(extra_specs={"pci_passthrough:alias": "gpu:1, nic:2"})
    assert spec_of(asked, {"gpu": (("10de", "1eb8"),)}).hardware == HardwareAsk(
        devices=(
            DeviceAsk(alias="gpu", count=1, ids=(("10de", "1eb8"),)),
            DeviceAsk(alias="nic", count=2, ids=()),
        )
    )


def test_a_contradiction_is_told_and_not_raised() -> None:
    found = spec_of(waiting(extra_specs={"trait:X": "required"}, image_properties={"trait:X": "forbidden"}))
    assert "X is required by one and forbidden by the other" in found.contradiction

"""Where an instance is to go, and what it may ask of a host."""

from __future__ import annotations

import pytest

from conductor.rule.aggregate import changed, check_aggregate, check_zones
from conductor.rule.flavor import check_flavor
from conductor.rule.group import check_group
from conductor.rule.hint import check_hints, check_together
from conductor.rule.verb import check_wishes
from conductor.rule.wish import property_faults
from drover import errors
from drover.objects.catalog import Flavor, Image
from drover.objects.group import Aggregate, AggregateChange, GroupPolicy, Hints, ServerGroup


def test_sound_hints_pass() -> None:
    check_hints(Hints(group="g", same_host=("a", "b"), different_host=("c",), wait=True, wait_s=60.0))
    check_together(Hints(host="h1", availability_zone="az1", same_host=("a",), different_host=("b",)), "az1")


@pytest.mark.parametrize(
    "hints",
    [
        Hints(wait_s=1.0),
        Hints(wait=True, wait_s=-1.0),
        Hints(wait=True, wait_s=float("nan")),
        Hints(wait=True, wait_s=1e12),
        Hints(same_host=tuple(map(str, range(51)))),
        Hints(different_host=tuple(map(str, range(51)))),
    ],
)
def test_hints_without_sense_are_refused(hints: Hints) -> None:
    with pytest.raises(errors.InvalidHints):
        check_hints(hints)


@pytest.mark.parametrize(
    ("hints", "zone", "words"),
    [
        (Hints(same_host=("a", "b"), different_host=("b",)), "", "instance b, and on another"),
        (Hints(host="h1", availability_zone="az1"), "az2", "in availability zone 'az2', not in 'az1'"),
        (Hints(host="h1", availability_zone="az1"), "", "in availability zone 'nova', not in 'az1'"),
    ],
)
def test_contradictions_are_refused(hints: Hints, zone: str, words: str) -> None:
    with pytest.raises(errors.InvalidHints, match=words):
        check_together(hints, zone)


# --- groups and aggregates ---------------------------------------------------------------------------------


def test_so_many_a_host_is_a_rule_of_anti_affinity() -> None:
    check_group(ServerGroup(id="", name="g", policy=GroupPolicy.ANTI_AFFINITY, max_per_host=3))
    for policy in set(GroupPolicy) - {GroupPolicy.ANTI_AFFINITY}:
        check_group(ServerGroup(id="", name="g", policy=policy))
        with pytest.raises(errors.InvalidGroup):
            check_group(ServerGroup(id="", name="g", policy=policy, max_per_host=2))


@pytest.mark.parametrize(("name", "most"), [("", 1), ("g", 0), ("g", 1001)])
def test_no_group(name: str, most: int) -> None:
    with pytest.raises((errors.InvalidGroup, errors.InvalidName)):
        check_group(ServerGroup(id="", name=name, policy=GroupPolicy.ANTI_AFFINITY, max_per_host=most))


@pytest.mark.parametrize(
    "it",
    [
        Aggregate(id="", name=""),
        Aggregate(id="x", name="a"),
        Aggregate(id="", name="a", availability_zone=" az"),
        Aggregate(id="", name="a", metadata={"": "x"}),
        Aggregate(id="", name="a", metadata={"k": "\n"}),
        Aggregate(id="", name="a", metadata={"availability_zone": "az1"}),
        Aggregate(id="", name="a", metadata={str(n): "" for n in range(129)}),
    ],
)
def test_no_aggregate(it: Aggregate) -> None:
    with pytest.raises((errors.InvalidAggregate, errors.InvalidName)):
        check_aggregate(it)


def test_a_change_is_what_it_names() -> None:
    it = Aggregate(id="", name="a", availability_zone="az1", metadata={"ssd": "true", "old": "1"})
    after = changed(it, AggregateChange(metadata={"new": "2"}, unset=("old", "absent")))
    assert (after.availability_zone, after.metadata) == ("az1", {"ssd": "true", "new": "2"})
    assert changed(it, AggregateChange(availability_zone="")).availability_zone == ""
    for nothing in (AggregateChange(), AggregateChange(metadata={"k": "v"}, unset=("k",))):
        with pytest.raises(errors.InvalidAggregate):
            changed(it, nothing)


@pytest.mark.parametrize(
    ("present", "others", "to", "guests", "refused"),
    [
        ({"h": ""}, {}, "az1", {}, False),
        ({"h": ""}, {}, "az1", {"h": 1}, True),  # its guests would be in a zone that nobody asked for
        ({"h": "az1"}, {}, "", {"h": 1}, True),
        ({"h": "az1"}, {}, "", {}, False),
        ({"h": "az1"}, {"h": "az1"}, "", {"h": 1}, False),  # another aggregate keeps it there
        ({"h": "az1"}, {"h": "az1"}, "az1", {"h": 1}, False),
        ({"h": "az1"}, {"h": "az1"}, "az2", {}, True),  # one zone at most
        ({"h": "az1"}, {}, "az2", {}, False),
        ({"h": "az1", "i": "az1"}, {}, "az2", {"i": 2}, True),
    ],
)
def test_who_may_change_its_zone(
    present: dict[str, str], others: dict[str, str], to: str, guests: dict[str, int], refused: bool
) -> None:
    if not refused:
        check_zones(present, others, to, guests)
        return
    with pytest.raises(errors.ZoneRefused):
        check_zones(present, others, to, guests)


# --- what is asked of a host -------------------------------------------------------------------------------


def flavor(**specs: str) -> Flavor:
    keys = {key.replace("__", ":"): value for key, value in specs.items()}
    return Flavor(id="", name="f", vcpus=2, memory_mib=1024, disk_gib=1, extra_specs=keys)


def image(**properties: str) -> Image:
    return Image(id="", name="i", properties={key.replace("__", ":"): value for key, value in properties.items()})


@pytest.mark.parametrize(
    "specs",
    [
        {"virt_type": "kvm"},
        {"hw__cpu_policy": "dedicated", "hw__cpu_thread_policy": "isolate", "hw__numa_nodes": "2"},
        {"hw__mem_page_size": "large"},
        {"trait__HW_CPU_X86_AVX2": "required", "trait__CUSTOM_OLD": "forbidden"},
        {"aggregate_instance_extra_specs__ssd": "true"},
        {"pci_passthrough__alias": "gpu:1,nic:2"},
    ],
)
def test_known_extra_specs(specs: dict[str, str]) -> None:
    check_flavor(flavor(**specs))


@pytest.mark.parametrize(
    "specs",
    [
        {"virt_type": "vmware"},
        {"quota__cpu_shares": "1"},
        {"hw__watchdog_action": "reset"},
        {"hw__cpu_policy": "sometimes"},
        {"hw__numa_nodes": "3"},
        {"trait__lower": "required"},
        {"trait__X": "maybe"},
        {"pci_passthrough__alias": "gpu:none"},
        {"colour": "red"},
    ],
)
def test_unknown_extra_specs_are_refused(specs: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidFlavor):
        check_flavor(flavor(**specs))


def test_flavor_and_image_must_agree() -> None:
    check_wishes(flavor(hw__cpu_policy="dedicated"), image(hw_cpu_policy="dedicated", os_distro="debian"))
    for wishes, properties in (
        ({"hw__cpu_policy": "dedicated"}, {"hw_cpu_policy": "shared"}),
        ({"trait__X": "required"}, {"trait__X": "forbidden"}),
    ):
        with pytest.raises(errors.InvalidFlavor):
            check_wishes(flavor(**wishes), image(**properties))


@pytest.mark.parametrize(
    ("properties", "faults"),
    [
        ({"os_distro": "debian", "hw_numa_nodes": "2", "trait:X": "required"}, 0),
        ({"hw_disk_bus": "scsi"}, 1),
        ({"trait:X": "maybe"}, 1),
        ({"trait:x": "required"}, 1),
        ({"": "x"}, 1),
        ({"k": "v" * 256}, 1),
        ({str(n): "" for n in range(129)}, 1),
    ],
)
def test_properties_of_images(properties: dict[str, str], faults: int) -> None:
    assert len(list(property_faults(properties))) == faults

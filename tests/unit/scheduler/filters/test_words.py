"""What each filter lets through, and the words it refuses with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drover.objects.group import GroupPolicy, HostAggregate
from drover.objects.hardware import CellAsk, DeviceAsk, HardwareAsk
from scheduler.filters.affinity import AffinityFilter
from scheduler.filters.aggregate_extra_specs import AggregateExtraSpecsFilter
from scheduler.filters.anti_affinity import AntiAffinityFilter
from scheduler.filters.architecture import ArchitectureFilter
from scheduler.filters.availability_zone import AvailabilityZoneFilter
from scheduler.filters.different_host import DifferentHostFilter
from scheduler.filters.disk import DiskFilter
from scheduler.filters.draining import DrainingFilter
from scheduler.filters.excluded_hosts import ExcludedHostsFilter
from scheduler.filters.flavor import FlavorFilter
from scheduler.filters.hardware import HardwareFilter
from scheduler.filters.image_properties import ImagePropertiesFilter
from scheduler.filters.instances import InstancesFilter
from scheduler.filters.io_operations import IoOperationsFilter
from scheduler.filters.isolated_images import IsolatedImagesFilter
from scheduler.filters.memory import MemoryFilter
from scheduler.filters.only_hosts import OnlyHostsFilter
from scheduler.filters.quarantine import QuarantineFilter
from scheduler.filters.tenant_isolation import TenantIsolationFilter
from scheduler.filters.traits import TraitsFilter
from scheduler.filters.up_enabled import UpEnabledFilter
from scheduler.filters.vcpus import VcpusFilter
from scheduler.filters.virt_type import VirtTypeFilter
from scheduler.host_table import HostTable
from scheduler.plugin import Filter
from tests.unit.scheduler.fleets import GPU, chain, group, host, spec

EAST = HostAggregate(name="east", availability_zone="east", metadata={"ssd": "true", "filter_tenant_id": "p1, p2"})
DEBIAN = HostAggregate(name="debian", metadata={"os_distro": "debian", "max_instances_per_host": "9"})
PINNED = HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), dedicated=True)
DEVICE = HardwareAsk(devices=(DeviceAsk(alias="gpu", count=1, ids=(GPU,)),))

REFUSED: list[tuple[Filter, dict[str, Any], dict[str, Any], str]] = [
    (UpEnabledFilter(), {"up": 0}, {}, "down: its agent does not answer"),
    (UpEnabledFilter(), {"enabled": 0, "disabled_reason": "disk swap"}, {}, "disabled: disk swap"),
    (UpEnabledFilter(), {"enabled": 0, "up": 0}, {}, "disabled: no reason given"),
    (DrainingFilter(), {"draining": 1}, {}, "draining: its guests move away, it takes no others"),
    (QuarantineFilter(), {"quarantine": "5 builds failed"}, {}, "in quarantine: 5 builds failed"),
    (FlavorFilter(), {}, {"contradiction": "flavor 'f': no"}, "flavor 'f': no"),
    (OnlyHostsFilter(), {}, {"only_hosts": ("b", "c")}, "not where it was asked to be: b, c"),
    (OnlyHostsFilter(), {}, {"only_hosts": ()}, "not where it was asked to be: no host is left of those asked for"),
    (DifferentHostFilter(), {}, {"not_hosts": ("a",)}, "an instance that it must be apart from is here"),
    (
        AvailabilityZoneFilter(),
        {},
        {"availability_zone": "east"},
        "availability zone east wanted, this host is in nova",
    ),
    (
        AvailabilityZoneFilter(),
        {"aggregates": (EAST,)},
        {"availability_zone": "nova"},
        "availability zone nova wanted, this host is in east",
    ),
    (
        AggregateExtraSpecsFilter(),
        {"aggregates": (EAST,)},
        {"aggregate_specs": (("ssd", "<or> false <or> no"),)},
        "aggregate metadata ssd <or> false <or> no wanted, true there",
    ),
    (
        AggregateExtraSpecsFilter(),
        {},
        {"aggregate_specs": (("ssd", "true"),)},
        "aggregate metadata ssd true wanted, none there",
    ),
    (
        TenantIsolationFilter(),
        {"aggregates": (EAST,)},
        {"project_id": "p3"},
        "kept for the projects p1, p2, this is p3",
    ),
    (
        ImagePropertiesFilter(),
        {"aggregates": (DEBIAN,)},
        {"image_properties": (("os_distro", "suse"),)},
        "image property os_distro is suse, its aggregates are for debian",
    ),
    (
        IsolatedImagesFilter(frozenset({"i1"}), ("b",)),
        {},
        {"image_id": "i1"},
        "image i1 is isolated, this host is not",
    ),
    (
        IsolatedImagesFilter(frozenset({"i1"}), ("a",)),
        {},
        {"image_id": "i2"},
        "this host is kept for isolated images",
    ),
    (
        TraitsFilter(),
        {"traits": ("HW_CPU_X86_AVX",)},
        {"required_traits": ("HW_CPU_X86_AVX", "HW_CPU_X86_AVX2")},
        "required traits it lacks: HW_CPU_X86_AVX2",
    ),
    (TraitsFilter(), {"traits": ("x", "y")}, {"forbidden_traits": ("y",)}, "forbidden traits it has: y"),
    (
        AffinityFilter(),
        {},
        {"group": group(GroupPolicy.AFFINITY, a=1, b=2)},
        "3 members of its group on a, b, 1 of them here",
    ),
    (
        AffinityFilter(),
        {},
        {"group": group(GroupPolicy.AFFINITY, b=1)},
        "1 member of its group on b, none of them here",
    ),
    (
        AntiAffinityFilter(),
        {},
        {"group": group(GroupPolicy.ANTI_AFFINITY, a=1)},
        "1 member of its group here, 1 at most on one host",
    ),
    (
        AntiAffinityFilter(),
        {},
        {"group": group(GroupPolicy.ANTI_AFFINITY, most=2, a=2)},
        "2 members of its group here, 2 at most on one host",
    ),
    (HardwareFilter(), {}, {"hardware": PINNED}, "1 NUMA cell wanted, 0 offered"),
    (HardwareFilter(), {}, {"hardware": DEVICE}, "PCI devices gpu: 1 wanted, 0 of 0 free"),
    (InstancesFilter(7), {}, {}, "7 instances there, 7 at most"),
    (IoOperationsFilter(4), {}, {}, "5 I/O operations under way, 4 at most"),
    (VcpusFilter(), {"used_vcpus": 7}, {"vcpus": 2}, "2 vCPUs wanted, 1 of 8 free"),
    (MemoryFilter(), {"used_memory_mib": 16000}, {"memory_mib": 512}, "512 MiB of memory wanted, 384 of 16384 free"),
    (DiskFilter(), {"used_disk_gib": 120}, {"disk_gib": 1}, "1 GiB of disk wanted, 0 of 100 free"),
    (VirtTypeFilter(), {"virt_types": ("qemu",)}, {"virt_type": "kvm"}, "virt type kvm wanted, qemu offered"),
    (VirtTypeFilter(), {"virt_types": ()}, {"virt_type": "kvm"}, "virt type kvm wanted, none offered"),
    (ArchitectureFilter(), {}, {"architecture": "aarch64"}, "architecture aarch64 wanted, x86_64 offered"),
    (ExcludedHostsFilter(), {}, {"excluded_hosts": ("a",)}, "excluded: an earlier attempt failed there"),
]

PASSED: list[tuple[Filter, dict[str, Any], dict[str, Any]]] = [
    (UpEnabledFilter(), {}, {}),
    (DrainingFilter(), {}, {}),
    (QuarantineFilter(), {"failures": 4}, {}),
    (FlavorFilter(), {}, {}),
    (OnlyHostsFilter(), {}, {"only_hosts": ("a", "b")}),
    (OnlyHostsFilter(), {}, {}),
    (DifferentHostFilter(), {}, {"not_hosts": ("b",)}),
    (AvailabilityZoneFilter(), {}, {"availability_zone": "nova"}),
    (AvailabilityZoneFilter(), {"aggregates": (DEBIAN, EAST)}, {"availability_zone": "east"}),
    (AggregateExtraSpecsFilter(), {"aggregates": (EAST,)}, {"aggregate_specs": (("ssd", "<or> no <or> true"),)}),
    (TenantIsolationFilter(), {"aggregates": (EAST,)}, {"project_id": "p2"}),
    (TenantIsolationFilter(), {"aggregates": (DEBIAN,)}, {"project_id": "p3"}),
    (ImagePropertiesFilter(), {"aggregates": (DEBIAN,)}, {"image_properties": (("os_version", "13"),)}),
    (IsolatedImagesFilter(frozenset({"i1"}), ("a",)), {}, {"image_id": "i1"}),
    (IsolatedImagesFilter(frozenset({"i1"}), ("b",)), {}, {"image_id": "i2"}),
    (IsolatedImagesFilter(frozenset({"i1"}), ("a",), restrict=False), {}, {"image_id": "i2"}),
    (TraitsFilter(), {"traits": ("x", "y")}, {"required_traits": ("x",), "forbidden_traits": ("z",)}),
    (AffinityFilter(), {}, {"group": group(GroupPolicy.AFFINITY)}),
    (AffinityFilter(), {}, {"group": group(GroupPolicy.AFFINITY, a=3)}),
    (AffinityFilter(), {}, {"group": group(GroupPolicy.SOFT_AFFINITY, b=3)}),
    (AntiAffinityFilter(), {}, {"group": group(GroupPolicy.ANTI_AFFINITY, most=2, a=1, b=2)}),
    (HardwareFilter(), {}, {}),
    (InstancesFilter(8), {}, {}),
    (InstancesFilter(1), {"aggregates": (DEBIAN,)}, {}),
    (IoOperationsFilter(6), {}, {}),
    (VcpusFilter(), {"used_vcpus": 6}, {"vcpus": 2}),
    (MemoryFilter(), {"used_memory_mib": 15872}, {"memory_mib": 512}),
    (DiskFilter(), {"used_disk_gib": 120}, {"disk_gib": 0}),
    (VirtTypeFilter(), {"virt_types": ("qemu",)}, {"virt_type": "qemu"}),
    (VirtTypeFilter(), {"virt_types": ()}, {"virt_type": ""}),
    (ArchitectureFilter(), {"architecture": "aarch64"}, {"architecture": ""}),
    (ExcludedHostsFilter(), {}, {"excluded_hosts": ("b", "unknown")}),
]


def table_of(facts: dict[str, Any], wishes: dict[str, Any]) -> HostTable:
    """One host, with 7 instances and at 5 I/O operations."""
    table = HostTable.build([host("a", **facts)]).scratch()
    table.counts[:, 0] = np.array([7, 5, 0])
    if "group" in wishes:
        table.set_members(dict(wishes["group"].hosts))
    return table


@pytest.mark.parametrize(("subject", "facts", "wishes", "words"), REFUSED)
def test_refuses_with_the_numbers(subject: Filter, facts: dict[str, Any], wishes: dict[str, Any], words: str) -> None:
    table = table_of(facts, wishes)
    assert subject.applies(table, spec(**wishes))
    assert subject.mask(table, spec(**wishes)).tolist() == [False]
    assert subject.explain(table, 0, spec(**wishes)) == words


@pytest.mark.parametrize(("subject", "facts", "wishes"), PASSED)
def test_lets_through(subject: Filter, facts: dict[str, Any], wishes: dict[str, Any]) -> None:
    table = table_of(facts, wishes)
    assert subject.mask(table, spec(**wishes)).tolist() == [True]
    assert subject.explain(table, 0, spec(**wishes)) == ""


def test_what_is_not_asked_for_is_not_looked_at() -> None:
    """An ordinary request over ordinary hosts: three amounts, and whether hosts are there."""
    table = HostTable.build([host("a"), host("b")])
    asked = chain().asked(table, spec(project_id="p1", image_id="i1", image_properties=(("os_distro", "debian"),)))
    assert [each.name for each in asked.filters] == ["up_enabled", "vcpus", "memory", "disk"]
    assert [each.name for each, _ in asked.weighers] == ["free_memory", "free_vcpus"]

"""Hosts, fleets and requests to test the scheduler with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hypothesis import strategies as st

from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.group import GroupPolicy, HostAggregate
from drover.objects.hardware import Cell, CellAsk, DeviceAsk, Hardware, HardwareAsk, PciDevice, ThreadPolicy
from drover.objects.host import HostUsage
from scheduler.plugin import Chain, load_chain
from scheduler.spec import GroupRule, PlacementSpec

__all__ = ["GPU", "batches", "chain", "fleets", "group", "host", "spec", "specs", "usages"]

GPU = ("10de", "1eb8")
_NIC = ("8086", "154d")


def host(name: str, **facts: Any) -> HostRow:
    """An empty host with 8 vCPUs, 16 GiB of memory and 100 GiB of disk, but for *facts*."""
    values: dict[str, Any] = {
        "enabled": 1,
        "disabled_reason": "",
        "up": 1,
        "total_vcpus": 8,
        "total_memory_mib": 16384,
        "total_disk_gib": 100,
        "used_vcpus": 0,
        "used_memory_mib": 0,
        "used_disk_gib": 0,
        "architecture": "x86_64",
        "virt_types": ("kvm", "qemu"),
        "traits": (),
        "aggregates": (),
        "hardware": Hardware(),
    } | facts
    values["virt_types"] = json.dumps(values["virt_types"])
    values["traits"] = json.dumps(values["traits"])
    values["aggregates"] = codec.to_json(values["aggregates"])
    values["hardware"] = codec.to_json(values["hardware"]) if values["hardware"] != Hardware() else ""
    return HostRow(host=name, **values)


def spec(**wishes: Any) -> PlacementSpec:
    """One vCPU, 1 GiB of memory and 10 GiB of disk, but for *wishes*."""
    values: dict[str, Any] = {"vcpus": 1, "memory_mib": 1024, "disk_gib": 10} | wishes
    return PlacementSpec(**values)


def group(policy: GroupPolicy, *, most: int = 1, **hosts: int) -> GroupRule:
    """A group with so many members on each of *hosts*."""
    return GroupRule(id=str(policy), policy=policy, max_per_host=most, hosts=tuple(sorted(hosts.items())))


def chain(**settings: Any) -> Chain:
    """The shipped chain, or the one of *settings*."""
    return load_chain(SchedulerSettings(**settings))


_NUMA = Hardware(
    cells=(
        Cell(id=0, cpus=(2, 3, 4, 5), cores=((2, 4), (3, 5)), memory_mib=2048, pages={2048: 512}),
        Cell(id=1, cpus=(8, 9), cores=((8,), (9,)), memory_mib=1024, pages={2048: 256, 1048576: 1}),
    ),
    devices=(PciDevice(address="0000:3b:00.0", vendor_id=GPU[0], product_id=GPU[1], cell=1),),
)
_DEVICES = Hardware(
    devices=tuple(
        PciDevice(address=f"0000:0{slot}:00.0", vendor_id=kind[0], product_id=kind[1])
        for slot, kind in enumerate((GPU, _NIC, _NIC))
    )
)

_AGGREGATES = (
    HostAggregate(name="east", availability_zone="east"),
    HostAggregate(name="fast", metadata={"ssd": "true", "cores": "8", "free_memory_weight_multiplier": "-1.5"}),
    HostAggregate(name="slow", metadata={"ssd": "false", "os_distro": "debian, alpine"}),
    HostAggregate(name="kept", metadata={"filter_tenant_id": "p1,p2"}),
    HostAggregate(name="few", metadata={"max_instances_per_host": "1", "max_io_ops_per_host": "2"}),
)
#: most hosts are fit for work: where nearly everything is refused, nothing is seen of what placements do
_CONDITIONS: tuple[dict[str, Any], ...] = (
    *[{}] * 14,
    {"enabled": 0, "disabled_reason": "disk swap"},
    {"up": 0},
    {"draining": 1},
    {"quarantine": "3 builds failed"},
    {"used_vcpus": 20, "used_memory_mib": 65536},
    {"total_vcpus": 0, "total_memory_mib": 0, "total_disk_gib": 0},
    {"architecture": "aarch64", "virt_types": ("qemu",)},
    {"virt_types": ()},
)


@st.composite
def _hosts(draw: st.DrawFn, name: str) -> HostRow:
    facts = {
        "total_vcpus": draw(st.integers(3, 16)),
        "total_memory_mib": draw(st.integers(4, 16)) * 512,
        "total_disk_gib": draw(st.sampled_from((20, 100, 100))),
        "used_vcpus": draw(st.integers(0, 3)),
        "used_memory_mib": draw(st.integers(0, 3)) * 512,
        "used_disk_gib": draw(st.integers(0, 15)),
        "failures": draw(st.sampled_from((0, 0, 1, 3))),
        "traits": draw(st.sampled_from(((), ("avx2",), ("avx2", "sse4")))),
        "aggregates": tuple(draw(st.lists(st.sampled_from(_AGGREGATES), max_size=2, unique_by=lambda it: it.name))),
        "hardware": draw(st.sampled_from((Hardware(), _NUMA, _NUMA, _DEVICES))),
    }
    return host(name, **(facts | draw(st.sampled_from(_CONDITIONS))))


@st.composite
def fleets(draw: st.DrawFn, least: int = 0, most: int = 8) -> list[HostRow]:
    """*least* to *most* hosts, some full, overdrawn, down or disabled."""
    return [draw(_hosts(f"host{number}")) for number in range(draw(st.integers(least, most)))]


#: the load of some hosts, by name
usages = st.dictionaries(
    st.sampled_from(("host0", "host1", "host2")),
    st.builds(
        HostUsage,
        cpu_percent=st.sampled_from((0.0, 30.0, 100.0, 130.0)),
        io_operations=st.integers(0, 3),
        images=st.sampled_from(((), ("i1",), ("i1", "i2"))),
    ),
)

_CELL = CellAsk(vcpus=1, memory_mib=256)
_GPU_ASK = DeviceAsk(alias="gpu", count=1, ids=(GPU,))
_WISHES: tuple[dict[str, Any], ...] = (
    {"architecture": "x86_64"},
    {"architecture": "aarch64"},
    {"virt_type": "kvm"},
    {"virt_type": "qemu"},
    {"excluded_hosts": ("host0",)},
    {"excluded_hosts": ("host1", "host3", "stranger")},
    {"availability_zone": "east"},
    {"availability_zone": "nova"},
    {"availability_zone": "west"},
    {"required_traits": ("avx2",)},
    {"required_traits": ("avx2", "sse4")},
    {"forbidden_traits": ("sse4",)},
    {"aggregate_specs": (("ssd", "true"),)},
    {"aggregate_specs": (("cores", ">= 4"), ("ssd", "<or> true <or> false"))},
    {"image_properties": (("os_distro", "debian"),)},
    {"image_properties": (("os_distro", "suse"),)},
    {"only_hosts": ()},
    {"only_hosts": ("host0", "host1", "host2")},
    {"not_hosts": ("host0", "stranger")},
    {"contradiction": "flavor 'f': nonsense"},
)
_HARDWARE = (
    HardwareAsk(cells=(_CELL,)),
    HardwareAsk(cells=(_CELL,), dedicated=True),
    HardwareAsk(cells=(_CELL, _CELL), dedicated=True, devices=(_GPU_ASK,)),
    HardwareAsk(cells=(CellAsk(vcpus=2, memory_mib=512),), dedicated=True, threads=ThreadPolicy.ISOLATE, page_kib=2048),
    HardwareAsk(cells=(CellAsk(vcpus=1, memory_mib=512),), page_kib=2048),
    HardwareAsk(devices=(_GPU_ASK,)),
    HardwareAsk(devices=(DeviceAsk(alias="nic", count=2, ids=(_NIC,)),)),
    HardwareAsk(devices=(DeviceAsk(alias="any", count=1, ids=(GPU, _NIC)),)),
)


@st.composite
def _specs(draw: st.DrawFn) -> PlacementSpec:
    asked = PlacementSpec(
        vcpus=draw(st.sampled_from((0, 1, 1, 2, 3))),
        memory_mib=draw(st.sampled_from((0, 1, 1, 2, 3))) * 512,
        disk_gib=draw(st.sampled_from((0, 1, 10))),
        project_id=draw(st.sampled_from(("p1", "p1", "p3"))),
        image_id=draw(st.sampled_from(("", "i1", "i2"))),
        hardware=draw(st.sampled_from((HardwareAsk(),) * 2 * len(_HARDWARE) + _HARDWARE)),
    )
    # Who asks for everything at once gets nothing, which shows little.
    for _ in range(2):
        asked = dataclasses.replace(asked, **draw(st.sampled_from(({},) * len(_WISHES) * 2 + _WISHES)))
    return asked


#: small numbers, so that equal requests and full hosts come often
specs = _specs()

_rules = st.builds(
    GroupRule,
    id=st.just(""),
    policy=st.sampled_from(GroupPolicy),
    max_per_host=st.integers(1, 3),
    hosts=st.sampled_from(((), (), (("host0", 1),), (("host0", 1), ("host1", 2)), (("gone", 1), ("host1", 1)))),
)


@st.composite
def batches(draw: st.DrawFn, most: int = 4) -> list[PlacementSpec]:
    """Runs of equal requests, as one create call with a count makes them; some of them in one of two groups."""
    groups = [None, *(dataclasses.replace(draw(_rules), id=name) for name in "ab")]
    runs = draw(st.lists(st.tuples(specs, st.sampled_from(groups), st.integers(1, 12)), max_size=most))
    return [dataclasses.replace(wanted, group=rule) for wanted, rule, count in runs for _ in range(count)]

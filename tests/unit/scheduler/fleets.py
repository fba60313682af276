"""Hosts, fleets and requests to test the scheduler with."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from drover.conf.scheduler import SchedulerSettings
from drover.db.host_table import HostRow
from scheduler.plugin import Chain, load_chain
from scheduler.spec import PlacementSpec

__all__ = ["chain", "fleets", "host", "spec", "specs"]


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
    } | facts
    values["virt_types"] = json.dumps(values["virt_types"])
    values["traits"] = json.dumps(values["traits"])
    return HostRow(host=name, **values)


def spec(**wishes: Any) -> PlacementSpec:
    """One vCPU, 1 GiB of memory and 10 GiB of disk, but for *wishes*."""
    values: dict[str, Any] = {"vcpus": 1, "memory_mib": 1024, "disk_gib": 10} | wishes
    return PlacementSpec(**values)


def chain(**settings: Any) -> Chain:
    """The shipped chain, or the one of *settings*."""
    chosen = SchedulerSettings(**settings)
    return load_chain(chosen.filters, chosen.weighers)


_hosts = st.builds(
    host,
    st.just(""),
    enabled=st.sampled_from((1, 1, 1, 0)),
    disabled_reason=st.sampled_from(("", "disk swap")),
    up=st.sampled_from((1, 1, 1, 0)),
    total_vcpus=st.integers(0, 8),
    total_memory_mib=st.integers(0, 8).map(lambda n: n * 512),
    total_disk_gib=st.integers(0, 40),
    used_vcpus=st.integers(0, 4),
    used_memory_mib=st.integers(0, 4).map(lambda n: n * 512),
    used_disk_gib=st.integers(0, 20),
    architecture=st.sampled_from(("x86_64", "x86_64", "aarch64")),
    virt_types=st.sampled_from((("kvm", "qemu"), ("qemu",), ())),
    traits=st.sampled_from(((), ("avx2",))),
)


@st.composite
def fleets(draw: st.DrawFn, most: int = 8) -> list[HostRow]:
    """Up to *most* hosts, some full, overdrawn, down or disabled."""
    rows = draw(st.lists(_hosts, max_size=most))
    return [HostRow(f"host{number}", *_values(row)[1:]) for number, row in enumerate(rows)]


def _values(row: HostRow) -> list[Any]:
    return [getattr(row, name) for name in HostRow.__dataclass_fields__]


#: small numbers, so that equal requests and full hosts come often
specs = st.builds(
    PlacementSpec,
    vcpus=st.integers(0, 3),
    memory_mib=st.integers(0, 3).map(lambda n: n * 512),
    disk_gib=st.sampled_from((0, 1, 10)),
    architecture=st.sampled_from(("", "x86_64", "aarch64")),
    virt_type=st.sampled_from(("", "kvm", "qemu")),
    excluded_hosts=st.sampled_from(((), ("host0",), ("host1", "host3"), ("stranger",))),
)

"""What each filter lets through, and the words it refuses with."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.filters.architecture import ArchitectureFilter
from scheduler.filters.disk import DiskFilter
from scheduler.filters.excluded_hosts import ExcludedHostsFilter
from scheduler.filters.memory import MemoryFilter
from scheduler.filters.up_enabled import UpEnabledFilter
from scheduler.filters.vcpus import VcpusFilter
from scheduler.filters.virt_type import VirtTypeFilter
from scheduler.host_table import HostTable
from scheduler.plugin import Filter
from tests.unit.scheduler.fleets import host, spec

REFUSED: list[tuple[Filter, dict[str, Any], dict[str, Any], str]] = [
    (UpEnabledFilter(), {"up": 0}, {}, "down: its agent does not answer"),
    (UpEnabledFilter(), {"enabled": 0, "disabled_reason": "disk swap"}, {}, "disabled: disk swap"),
    (UpEnabledFilter(), {"enabled": 0, "up": 0}, {}, "disabled: no reason given"),
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
    (VcpusFilter(), {"used_vcpus": 6}, {"vcpus": 2}),
    (MemoryFilter(), {"used_memory_mib": 15872}, {"memory_mib": 512}),
    (DiskFilter(), {"used_disk_gib": 120}, {"disk_gib": 0}),
    (VirtTypeFilter(), {"virt_types": ("qemu",)}, {"virt_type": "qemu"}),
    (VirtTypeFilter(), {"virt_types": ()}, {"virt_type": ""}),
    (ArchitectureFilter(), {"architecture": "aarch64"}, {"architecture": ""}),
    (ExcludedHostsFilter(), {}, {"excluded_hosts": ("b", "unknown")}),
]


@pytest.mark.parametrize(("subject", "facts", "wishes", "words"), REFUSED)
def test_refuses_with_the_numbers(subject: Filter, facts: dict[str, Any], wishes: dict[str, Any], words: str) -> None:
    table = HostTable.build([host("a", **facts)])
    assert subject.mask(table, spec(**wishes)).tolist() == [False]
    assert subject.explain(table, 0, spec(**wishes)) == words


@pytest.mark.parametrize(("subject", "facts", "wishes"), PASSED)
def test_lets_through(subject: Filter, facts: dict[str, Any], wishes: dict[str, Any]) -> None:
    table = HostTable.build([host("a", **facts)])
    assert subject.mask(table, spec(**wishes)).tolist() == [True]
    assert subject.explain(table, 0, spec(**wishes)) == ""

"""One guest in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import libvirt

from agent.virt.libvirt import quiesce
from agent.virt.libvirt.domain import power_of_domain
from agent.virt.libvirt.xml.element import parse
from drover.objects.guest import Diagnostics
from drover.units import KIB, MIB

__all__ = ["disks_of", "nics_of", "read"]

_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
#: ours, and libvirt's (virConnectGetAllDomainStats)
_DISK = {
    "read_bytes": "rd.bytes",
    "read_requests": "rd.reqs",
    "write_bytes": "wr.bytes",
    "write_requests": "wr.reqs",
    "errors": "errors",
}
_NIC = {"octets": "bytes", "packets": "pkts", "drop": "drop", "errors": "errs"}


def read(domain: libvirt.virDomain) -> Diagnostics:
    """Work for inside a call. How long the guest has been up libvirt does not know."""
    root = parse(domain.XMLDesc(0))
    stats = _stats(domain) if domain.isActive() else {}
    macs = [mac.get("address", "") for mac in root.iterfind("devices/interface/mac")]
    return Diagnostics(
        instance_uuid=domain.UUIDString(),
        hypervisor=root.get("type", ""),
        power_state=power_of_domain(domain),
        cpu_time_s=tuple(int(vcpu.get("time", 0)) / 1e9 for vcpu in _items(stats, "vcpu", "current")),
        memory_mib=int(root.findtext("memory", "0")) * KIB // MIB,  # libvirt shows KiB, whatever was defined
        memory_rss_mib=int(stats.get("balloon.rss", 0)) * KIB // MIB,
        disks=disks_of(stats),
        nics=nics_of(stats, macs),
        guest_agent=quiesce.answers(domain),
    )


def disks_of(stats: Mapping[str, Any]) -> tuple[dict[str, int | str], ...]:
    return tuple(
        {"device": str(disk.get("name", "")), **{ours: int(disk.get(theirs, 0)) for ours, theirs in _DISK.items()}}
        for disk in _items(stats, "block")
    )


def nics_of(stats: Mapping[str, Any], macs: Sequence[str]) -> tuple[dict[str, int | str], ...]:
    """libvirt counts interfaces in the order of the definition, which has their MACs.

    Seen from the host: what the guest receives, its tap device receives from the bridge.
    """
    nics = zip(macs, _items(stats, "net"), strict=False)
    return tuple({"mac": mac, **_counters(nic, "rx"), **_counters(nic, "tx")} for mac, nic in nics)


def _counters(nic: Mapping[str, Any], way: str) -> dict[str, int | str]:
    return {f"{way}_{ours}": int(nic.get(f"{way}.{theirs}", 0)) for ours, theirs in _NIC.items()}


def _stats(domain: libvirt.virDomain) -> Mapping[str, Any]:
    # NOWAIT: of a guest that is busy with a job it tells less, but at once
    rows = domain.connect().domainListGetStats([domain], _GROUPS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
    return dict(rows[0][1]) if rows else {}


def _items(stats: Mapping[str, Any], group: str, count: str = "count") -> list[dict[str, Any]]:
    """``net.0.rx.bytes`` and the like as one mapping for each number."""
    items: list[dict[str, Any]] = []
    for number in range(int(stats.get(f"{group}.{count}", 0))):
        prefix = f"{group}.{number}."
        items.append({key.removeprefix(prefix): value for key, value in stats.items() if key.startswith(prefix)})
    return items

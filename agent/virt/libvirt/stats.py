"""The usage of every guest from one bulk call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import libvirt

from agent.virt.libvirt.identity import domain_name
from drover.objects.instance import InstanceUsage
from drover.units import KIB, MIB

__all__ = ["read_all", "usage_of"]

_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
#: NOWAIT: a domain that is busy (a migration, a hung monitor) reports what needs no monitor, and delays nobody
_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


def read_all(connection: libvirt.virConnect, at: datetime) -> dict[str, InstanceUsage]:
    """By uuid, for every active domain with a name of Drover's. Work for a call.

    The mark is not read here: a call a domain would cost more than the one for all.
    """
    usages: dict[str, InstanceUsage] = {}
    for domain, stats in connection.getAllDomainStats(_GROUPS, _FLAGS):
        instance_uuid = domain.UUIDString()
        if domain.name() == domain_name(instance_uuid):
            usages[instance_uuid] = usage_of(stats, at)
    return usages


def usage_of(stats: Mapping[str, Any], at: datetime) -> InstanceUsage:
    """One domain's part of the answer; what it does not tell counts 0. Names as in virConnectGetAllDomainStats."""
    return InstanceUsage(
        cpu_time_s=stats.get("cpu.time", 0) / 1e9,
        memory_mib=stats.get("balloon.current", 0) * KIB // MIB,
        memory_rss_mib=stats.get("balloon.rss", 0) * KIB // MIB,
        disk_allocated_mib=_sum(stats, "block", "allocation") // MIB,
        disk_read_bytes=_sum(stats, "block", "rd.bytes"),
        disk_write_bytes=_sum(stats, "block", "wr.bytes"),
        # seen from the host: what the guest receives the tap device receives from the bridge
        net_rx_bytes=_sum(stats, "net", "rx.bytes"),
        net_tx_bytes=_sum(stats, "net", "tx.bytes"),
        at=at,
    )


def _sum(stats: Mapping[str, Any], group: str, key: str) -> int:
    return sum(int(stats.get(f"{group}.{number}.{key}", 0)) for number in range(int(stats.get(f"{group}.count", 0))))

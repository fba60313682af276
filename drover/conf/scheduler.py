"""Options of the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["SchedulerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerSettings:
    GROUP: ClassVar[str] = "scheduler"

    name: str = setting("", "Name of this scheduler, unique in the fleet; empty: host name and process id.")
    workers: int = setting(2, "Messages taken at once; placing itself is one task.", minimum=1, maximum=16)
    batch: int = setting(
        256,
        "Operations placed in one pass and one transaction; those of one create call go together, however many.",
        minimum=1,
        maximum=2000,
    )
    alternates: int = setting(
        3, "Further hosts a request may take when its first choice has just filled up.", minimum=0, maximum=20
    )
    explained_hosts: int = setting(
        200,
        "Hosts whose refusal a decision spells out when no host is left (10 at most when there is one).",
        minimum=0,
        maximum=10000,
    )
    filters: tuple[str, ...] = setting(
        (
            "up_enabled",
            "draining",
            "quarantine",
            "flavor",
            "excluded_hosts",
            "only_hosts",
            "different_host",
            "availability_zone",
            "aggregate_extra_specs",
            "tenant_isolation",
            "image_properties",
            "isolated_images",
            "virt_type",
            "architecture",
            "traits",
            "vcpus",
            "memory",
            "disk",
            "affinity",
            "anti_affinity",
            "hardware",
        ),
        "Filters in order, by entry point name (group drover.scheduler.filters). Leave one out to switch it off; "
        "up_enabled, draining, quarantine, flavor, vcpus, memory, disk, affinity, anti_affinity and hardware must stay. "
        "Shipped, but off: io_operations, instances.",
    )
    weighers: tuple[str, ...] = setting(
        (
            "free_memory=1.0",
            "free_vcpus=1.0",
            "failures=2.0",
            "soft_affinity=10.0",
            "soft_anti_affinity=10.0",
            "pci=1.0",
            "numa=1.0",
        ),
        "Weighers as name=multiplier (group drover.scheduler.weighers). Positive free_* spread instances over hosts, "
        "negative ones pack them. An aggregate's metadata NAME_weight_multiplier goes before it on its hosts. Shipped, "
        "but off: free_disk, load, io_operations, image_cached.",
    )
    host_subset_size: int = setting(
        1,
        "Choose by chance among so many of the best hosts. More than 1 when several schedulers, which see the same "
        "fleet, lose races for the same hosts; 1: always the best.",
        minimum=1,
        maximum=1000,
    )
    max_io_ops_per_host: int = setting(
        8,
        "Filter io_operations: a host at so many builds and other work on disks takes no more. An aggregate's metadata "
        "of this name goes before it.",
        minimum=1,
    )
    max_instances_per_host: int = setting(
        50,
        "Filter instances: a host with so many takes no more. An aggregate's metadata of this name goes before it.",
        minimum=1,
    )
    pci_aliases: tuple[str, ...] = setting(
        (),
        "PCI devices by the names that flavors use (pci_passthrough:alias=NAME:COUNT), as NAME=VENDOR:PRODUCT, four hex "
        "digits each as lspci -nn shows them. A name that stands here more than once means any of its devices.",
    )
    isolated_images: tuple[str, ...] = setting(
        (), "Filter isolated_images: ids of images that go to isolated_hosts only."
    )
    isolated_hosts: tuple[str, ...] = setting((), "Filter isolated_images: the hosts for isolated_images.")
    restrict_isolated_hosts_to_isolated_images: bool = setting(
        True, "Filter isolated_images: isolated_hosts take no other images."
    )

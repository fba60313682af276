"""For test bodies that run inside the host's namespaces, as the agent does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.virt.libvirt.driver import LibvirtDriver
from drover.conf import load
from drover.conf.libvirt import LibvirtSettings
from drover.objects.address import mac_of
from drover.objects.guest import GuestPort
from drover.runtime.threads import ThreadRuntime
from tests.integration.virt.conftest import DEPLOYMENT

__all__ = ["NETWORK", "inner_driver", "nat_port"]

NETWORK = "0f5a1d6e-94a3-4b7d-8f0e-0f3c0f5b8a10"


def nat_port(offset: int, **changes: object) -> GuestPort:
    plain = GuestPort(
        mac=mac_of(7, offset),
        ip=f"10.99.0.{offset}",
        prefix_len=24,
        gateway="10.99.0.1",
        dns=("9.9.9.9",),
        mtu=1400,
        network_id=NETWORK,
        network_name="private",
        kind="nat",
        bridge="dvnat0",
        cidr="10.99.0.0/24",
        mac_index=7,
        first="10.99.0.10",
        last="10.99.0.20",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@contextlib.contextmanager
def inner_driver(work: str, **changes: object) -> Iterator[LibvirtDriver]:
    plain = replace(load().get(LibvirtSettings), virt_type="qemu", instances_dir=f"{work}/instances")
    settings = replace(plain, **changes)  # type: ignore[arg-type]
    driver = LibvirtDriver(ThreadRuntime(), settings, Path(work))
    driver.open()
    driver.set_deployment(DEPLOYMENT)
    try:
        yield driver
    finally:
        driver.close()

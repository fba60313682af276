"""Specs for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drover.objects.guest import GuestPort, GuestSpec, ImageSource

__all__ = ["make_port", "make_spec"]


def make_port(**changes: Any) -> GuestPort:
    port = GuestPort(
        mac="52:54:00:01:00:0a",
        ip="10.0.0.10",
        prefix_len=24,
        gateway="10.0.0.1",
        dns=("9.9.9.9", "1.1.1.1"),
        mtu=1450,
        network_id="0f5a1d6e-94a3-4b7d-8f0e-0f3c0f5b8a10",
        network_name="private",
        kind="nat",
        bridge="dvbr0001",
        cidr="10.0.0.0/24",
        mac_index=1,
        first="10.0.0.10",
        last="10.0.0.12",
    )
    return replace(port, **changes)


def make_spec(**changes: Any) -> GuestSpec:
    spec = GuestSpec(
        deployment_id="b7f0a2a4-6a3c-4c52-8a43-3b8f0f5f7f11",
        uuid="6f6c1f0e-3c6b-4a53-9d53-0a5a4c1d2e3f",
        epoch=3,
        name="web-1",
        hostname="web-1",
        project_id="shop",
        user_id="ann",
        flavor_name="m1.small",
        vcpus=2,
        memory_mib=2048,
        disk_gib=10,
        image=ImageSource(
            id="c1a5e6de-94a3-4b7d-8f0e-0f3c0f5b8a10",
            format="qcow2",
            sha256="0" * 64,
            size_bytes=1000,
            virtual_size_bytes=2000,
            url="http://conductor:9000/c1a5e6de",
            token="secret",
        ),
        ports=(make_port(),),
        ssh_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA ann@desk",),
        metadata={"tier": "front", "owner": "ann"},
    )
    return replace(spec, **changes)

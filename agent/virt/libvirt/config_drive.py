"""The config drive: a cloud-init NoCloud ISO, the same bytes for the same spec.

Format: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import io
from typing import Any

import pycdlib
import yaml
from pycdlib.dates import DirectoryRecordDate

from drover.objects.guest import GuestPort, GuestSpec

__all__ = ["files", "iso"]

_LABEL = "cidata"
#: 1980-01-01 in UTC stands for every date, as ECMA-119 writes it in directory records and volume descriptors
_RECORD_DATE = bytes((80, 1, 1, 0, 0, 0, 0))
_VOLUME_DATE = b"1980010100000000\0"
#: the primary and the Joliet descriptor, and where they keep creation, modification and effective date
_SECTOR, _DESCRIPTOR_SECTORS, _DATE_OFFSETS = 2048, (16, 17), (813, 830, 864)


def files(spec: GuestSpec) -> dict[str, bytes]:
    """The NoCloud files by name. Whatever the names and keys contain, it is data in them, never structure."""
    return {
        "meta-data": _yaml(
            {"instance-id": spec.uuid, "local-hostname": spec.hostname, "public-keys": list(spec.ssh_keys)}
        ),
        "network-config": _yaml(network_config(spec.ports)),
        "user-data": spec.user_data.encode(),
    }


def network_config(ports: tuple[GuestPort, ...]) -> dict[str, Any]:
    """cloud-init's network config version 2: fixed addresses, interfaces found by MAC.

    The first port is ``eth0`` and carries the default route.
    """
    ethernets: dict[str, Any] = {}
    for number, port in enumerate(ports):
        ethernet: dict[str, Any] = {
            "match": {"macaddress": port.mac},
            "set-name": f"eth{number}",
            "dhcp4": False,
            "dhcp6": False,
            "addresses": [f"{port.ip}/{port.prefix_len}"],
            "mtu": port.mtu,
        }
        if number == 0 and port.gateway:
            ethernet["routes"] = [{"to": "0.0.0.0/0", "via": port.gateway}]
        if port.dns or port.gateway:
            ethernet["nameservers"] = {"addresses": list(port.dns) or [port.gateway]}
        ethernets[f"eth{number}"] = ethernet
    return {"version": 2, "ethernets": ethernets}


def iso(spec: GuestSpec) -> bytes:
    """The image: ISO 9660 with Joliet names, label ``cidata``."""
    image: Any = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, vol_ident=_LABEL, sys_ident="LINUX")
    for number, (name, content) in enumerate(sorted(files(spec).items())):
        image.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", joliet_path=f"/{name}")
    for descriptor in (image.pvd, image.joliet_vd):
        root = descriptor.root_dir_record
        for record in (root, *root.children):
            record.date = _same_moment()
    target = io.BytesIO()
    image.write_fp(target)
    image.close()
    return _freeze(target.getvalue())


def _yaml(value: Any) -> bytes:
    # A folded line would be right YAML, but small guests read keys line by line. Beyond ASCII all is escaped:
    # PyYAML writes some line separators (U+0085) so that they do not read back.
    return yaml.safe_dump(value, sort_keys=False, width=1 << 20).encode()


def _same_moment() -> DirectoryRecordDate:
    date = DirectoryRecordDate()
    date.parse(_RECORD_DATE)
    return date


def _freeze(content: bytes) -> bytes:
    """Set the dates of both volume descriptors, which pycdlib takes from the clock as it writes."""
    frozen = bytearray(content)
    for sector in _DESCRIPTOR_SECTORS:
        for offset in _DATE_OFFSETS:
            first = sector * _SECTOR + offset
            frozen[first : first + len(_VOLUME_DATE)] = _VOLUME_DATE
    return bytes(frozen)

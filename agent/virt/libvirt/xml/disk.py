"""Disks: the root disk, the rescue disk before it, and the config drive after them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["config_drive", "system_disks"]


def system_disks(devices: ET.Element, paths: Sequence[str], *, cache: str) -> None:
    """``vda``, which boots, and so on: overlays, whose backing files and their formats stand in their headers."""
    for number, path in enumerate(paths):
        disk = add(devices, "disk", type="file", device="disk")
        add(disk, "driver", name="qemu", type="qcow2", cache=cache, discard="unmap")
        add(disk, "source", file=path)
        add(disk, "target", dev=_name(number), bus="virtio")
        if number == 0:
            add(disk, "boot", order=1)


def config_drive(devices: ET.Element, path: str, *, number: int) -> None:
    """The disk of this *number*, read-only. Virtio, not a CD-ROM: small cloud kernels have no driver for SATA."""
    disk = add(devices, "disk", type="file", device="disk")
    add(disk, "driver", name="qemu", type="raw")
    add(disk, "source", file=path)
    add(disk, "target", dev=_name(number), bus="virtio")
    add(disk, "readonly")


def _name(number: int) -> str:
    return "vd" + "abcdefgh"[number]

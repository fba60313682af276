"""Disks: the root disk and the config drive."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["config_drive", "root_disk"]


def root_disk(devices: ET.Element, path: str, *, cache: str) -> None:
    """``vda``, the overlay. Its backing file and that file's format stand in the overlay's header."""
    disk = add(devices, "disk", type="file", device="disk")
    add(disk, "driver", name="qemu", type="qcow2", cache=cache, discard="unmap")
    add(disk, "source", file=path)
    add(disk, "target", dev="vda", bus="virtio")
    add(disk, "boot", order=1)


def config_drive(devices: ET.Element, path: str) -> None:
    """``vdb``, read-only. Virtio, not a CD-ROM: small cloud kernels have no driver for SATA."""
    disk = add(devices, "disk", type="file", device="disk")
    add(disk, "driver", name="qemu", type="raw")
    add(disk, "source", file=path)
    add(disk, "target", dev="vdb", bus="virtio")
    add(disk, "readonly")

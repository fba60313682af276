"""The backup job: a copy of one disk while its guest runs."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add, parse, render
from drover import errors

__all__ = ["backup_target", "backup_xml", "disk_of"]


def backup_xml(device: str, target: str) -> str:
    """A whole copy of the disk *device* into a new qcow2 file *target*, pushed by QEMU; other disks stay out of it."""
    root = ET.Element("domainbackup", mode="push")
    disk = add(add(root, "disks"), "disk", name=device, type="file", backup="yes")
    add(disk, "driver", type="qcow2")
    add(disk, "target", file=target)
    return render(root)


def backup_target(text: str) -> str:
    """The file that the job *text*, as libvirt shows it, writes; empty when it is of another shape."""
    target = parse(text).find("disks/disk[@backup='yes']/target")
    return "" if target is None else target.get("file", "")


def disk_of(text: str, path: str) -> str:
    """The device name under which the definition *text* has the file *path*.

    :raises errors.DriverError: it has it not.
    """
    for disk in parse(text).iterfind("devices/disk"):
        source, target = disk.find("source"), disk.find("target")
        if source is not None and target is not None and source.get("file") == path:
            return target.get("dev", "")
    raise errors.DriverError(operation="snapshot", detail=f"the guest has no disk {path}")

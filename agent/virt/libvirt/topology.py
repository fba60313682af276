"""The host's NUMA cells and PCI devices, as libvirt shows them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import libvirt

from agent.virt.libvirt.fault import is_code
from agent.virt.libvirt.xml.element import parse
from drover.objects.hardware import Cell, PciDevice

__all__ = ["cells", "device", "devices"]

_ORDINARY_KIB = 4


def cells(capabilities: str) -> tuple[Cell, ...]:
    """From the capabilities of the connection, with all CPUs that are online."""
    return tuple(_cell(cell) for cell in parse(capabilities).iterfind("host/topology/cells/cell"))


def _cell(cell: ET.Element) -> Cell:
    cores: dict[tuple[str, ...], list[int]] = {}
    for cpu in cell.iterfind("cpus/cpu"):
        if cpu.get("core_id") is not None:  # one that is offline has nothing but its number
            place = tuple(cpu.get(name, "") for name in ("socket_id", "die_id", "core_id"))
            cores.setdefault(place, []).append(int(cpu.get("id", "")))
    pages = {int(each.get("size", "")): int(each.text or 0) for each in cell.iterfind("pages")}
    # What is in huge pages is not among the ordinary ones, but is in the sum.
    ordinary_kib = pages.pop(_ORDINARY_KIB, None)
    memory_kib = int(cell.findtext("memory", "0")) if ordinary_kib is None else ordinary_kib * _ORDINARY_KIB
    return Cell(
        id=int(cell.get("id", "")),
        cpus=tuple(sorted(cpu for core in cores.values() for cpu in core)),
        cores=tuple(sorted(tuple(sorted(core)) for core in cores.values())),
        memory_mib=memory_kib // 1024,
        pages={size: count for size, count in sorted(pages.items()) if count},
    )


def devices(connection: libvirt.virConnect) -> tuple[PciDevice, ...]:
    """Work for a call: all of the host, by address."""
    found = []
    for each in connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV):
        try:
            found.append(device(each.XMLDesc()))
        except libvirt.libvirtError as exc:
            if not is_code(exc, libvirt.VIR_ERR_NO_NODE_DEVICE):  # unplugged meanwhile
                raise
    return tuple(sorted(found, key=lambda each: each.address))


def device(text: str) -> PciDevice:
    """From the XML of a node device of kind ``pci``."""
    root = parse(text)
    domain, bus, slot, function = (
        int(root.findtext(f"capability/{part}", "0"), 0) for part in ("domain", "bus", "slot", "function")
    )
    node = root.find("capability/numa")
    return PciDevice(
        address=f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}",
        vendor_id=_id(root, "vendor"),
        product_id=_id(root, "product"),
        cell=-1 if node is None else int(node.get("node", "-1")),
    )


def _id(root: ET.Element, kind: str) -> str:
    found = root.find(f"capability/{kind}")
    return "" if found is None else found.get("id", "").removeprefix("0x").lower()

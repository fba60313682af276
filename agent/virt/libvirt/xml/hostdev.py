"""PCI devices of the host that the guest has to itself."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["hostdev"]


def hostdev(devices: ET.Element, address: str) -> None:
    """libvirt takes the device from its driver when the guest starts, and gives it back afterwards (``managed``).

    :param address: ``0000:3b:00.1``
    """
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    device = add(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
    source = add(device, "source")
    add(source, "address", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}")

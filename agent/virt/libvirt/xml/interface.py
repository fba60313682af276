"""Network interfaces."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add
from drover.objects.guest import GuestPort

__all__ = ["TAP_PREFIX", "interface", "tap_name"]

#: the kernel's limit for a device name is 15 characters
TAP_PREFIX = "dv"


def tap_name(mac: str) -> str:
    """The tap device of a port, told from its MAC alone: the fleet gives a MAC to one port only.

    A name of libvirt's own kind (``vnet0``) would change with every start and could not be filtered beforehand.
    """
    return TAP_PREFIX + mac.replace(":", "").lower()


def interface(devices: ET.Element, port: GuestPort) -> None:
    """A virtio interface on the port's bridge, under a device name known before the start."""
    element = add(devices, "interface", type="bridge")
    add(element, "mac", address=port.mac)
    add(element, "source", bridge=port.bridge)
    add(element, "target", dev=tap_name(port.mac))
    add(element, "model", type="virtio")
    add(element, "mtu", size=port.mtu)

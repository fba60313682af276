"""The balloon, kept for its statistics."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["memballoon"]


def memballoon(devices: ET.Element) -> None:
    """The guest's own view of its memory, refreshed every 5 s."""
    add(add(devices, "memballoon", model="virtio"), "stats", period=5)

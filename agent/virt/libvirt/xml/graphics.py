"""The screen."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["graphics"]


def graphics(devices: ET.Element, *, listen: str) -> None:
    """VNC on *listen* at the first free port from 5900; no screen at all when *listen* is empty."""
    video = add(devices, "video")
    if not listen:
        add(video, "model", type="none")
        return
    add(video, "model", type="vga", vram=16384)
    element = add(devices, "graphics", type="vnc", port=-1, autoport="yes")
    add(element, "listen", type="address", address=listen)

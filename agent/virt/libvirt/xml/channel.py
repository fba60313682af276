"""The channel to the guest's agent."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add, parse

__all__ = ["agent_connected", "channel"]

#: the port that qemu-guest-agent opens in the guest
_NAME = "org.qemu.guest_agent.0"


def channel(devices: ET.Element) -> None:
    """A virtio port; what is behind it is libvirt's own socket."""
    add(add(devices, "channel", type="unix"), "target", type="virtio", name=_NAME)


def agent_connected(text: str) -> bool:
    """Whether the live definition *text* shows that something in the guest has the channel open."""
    targets = parse(text).iterfind("devices/channel/target")
    return any(target.get("name") == _NAME and target.get("state") == "connected" for target in targets)

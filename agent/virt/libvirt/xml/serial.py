"""The serial console."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["serial"]


def serial(devices: ET.Element, log_path: str) -> None:
    """``ttyS0``: a pty for ``virsh console``, and a log of all that it ever printed.

    The log is appended to over restarts. virtlogd (libvirt's default ``stdio_handler``) writes and rotates it:
    2 MiB and three old files unless virtlogd.conf says otherwise.
    """
    for tag, kind in (("serial", "isa-serial"), ("console", "serial")):
        element = add(devices, tag, type="pty")
        add(element, "log", file=log_path, append="on")
        add(element, "target", type=kind, port=0)

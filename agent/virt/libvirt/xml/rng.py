"""Randomness for the guest: without it a small Linux waits seconds for entropy at boot."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add

__all__ = ["rng"]


def rng(devices: ET.Element) -> None:
    element = add(devices, "rng", model="virtio")
    add(element, "backend", "/dev/urandom", model="random")

"""The whole domain, put together from its devices."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from agent.virt.libvirt import identity
from agent.virt.libvirt.folder import Folder
from agent.virt.libvirt.xml.channel import channel
from agent.virt.libvirt.xml.disk import config_drive, system_disks
from agent.virt.libvirt.xml.element import add, render
from agent.virt.libvirt.xml.graphics import graphics
from agent.virt.libvirt.xml.hostdev import hostdev
from agent.virt.libvirt.xml.interface import interface
from agent.virt.libvirt.xml.memballoon import memballoon
from agent.virt.libvirt.xml.platform import board
from agent.virt.libvirt.xml.rng import rng
from agent.virt.libvirt.xml.serial import serial
from agent.virt.libvirt.xml.shape import Shape
from drover.objects.guest import GuestSpec

__all__ = ["domain_xml"]


def domain_xml(
    spec: GuestSpec, shape: Shape, folder: Folder, *, virt_type: str, operation_id: str, rescue: bool = False
) -> str:
    """The definition of a guest.

    :param folder: where the guest's files lie; they need not exist yet.
    :param virt_type: ``kvm`` or ``qemu``, already chosen.
    :param rescue: boot from the rescue disk, with the root disk as the second one, as Nova does.
    """
    domain = ET.Element("domain", {"type": virt_type})
    add(domain, "name", identity.domain_name(spec.uuid))
    add(domain, "uuid", spec.uuid)
    add(domain, "title", _one_line(spec.name))
    add(domain, "metadata").append(identity.element(identity.stamp(spec, operation_id, rescue=rescue), spec))
    board(domain, spec, shape, virt_type)
    devices = add(domain, "devices")
    disks = [str(folder.rescue), str(folder.disk)] if rescue else [str(folder.disk)]
    system_disks(devices, disks, cache=shape.disk_cache)
    config_drive(devices, str(folder.config), number=len(disks))
    add(devices, "controller", type="usb", model="none")  # the probe for USB costs a second under emulation
    for port in spec.ports:
        interface(devices, port)
    for address in spec.hardware.devices:
        hostdev(devices, address)
    serial(devices, str(folder.console))
    channel(devices)
    graphics(devices, listen=shape.vnc_listen if shape.vnc else "")
    rng(devices)
    memballoon(devices)
    return render(domain)


def _one_line(name: str) -> str:
    # libvirt refuses a title with a line break
    return " ".join(name.split()) or "-"

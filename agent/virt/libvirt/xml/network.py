"""A nat network: libvirt's own, with every DHCP host of the pool in it from the start.

An address always has the same MAC (:mod:`drover.objects.address`), so the table never changes while guests
come and go, and a running network is never edited.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Network
from xml.etree import ElementTree as ET

from agent.virt.libvirt.xml.element import add, parse, render
from drover import errors
from drover.objects.address import ip_of, mac_of, offset_of
from drover.objects.guest import GuestPort

__all__ = ["MAX_HOSTS", "digest_in", "network_name", "network_xml"]

NAMESPACE = "urn:drover:network:1"
#: a /22; dnsmasq and libvirt take a second to read such a table
MAX_HOSTS = 1022


def network_name(network_id: str) -> str:
    """The name in ``virsh net-list``."""
    return f"drover-{network_id[:8]}"


def network_xml(port: GuestPort) -> str:
    """The network that *port* is on; the same text for all ports of one network.

    :raises errors.InvalidNetwork: its pool has more than :data:`MAX_HOSTS` addresses.
    """
    hosts = list(_hosts(port))
    if len(hosts) > MAX_HOSTS:
        raise errors.InvalidNetwork(
            name=port.network_name, reason=f"{len(hosts)} addresses, a nat network serves at most {MAX_HOSTS}"
        )
    network = ET.Element("network")
    add(network, "name", network_name(port.network_id))
    add(network, "uuid", port.network_id)
    mark = add(add(network, "metadata"), "drover:network", **{"xmlns:drover": NAMESPACE})
    mark.set("digest", _digest(port))
    add(mark, "drover:name", port.network_name)
    add(network, "forward", mode="nat")
    add(network, "bridge", name=port.bridge, stp="off", delay=0)
    add(network, "mtu", size=port.mtu)
    if port.dns:
        dns = add(network, "dns")
        for server in port.dns:
            add(dns, "forwarder", addr=server)
    address = add(network, "ip", address=port.gateway, prefix=port.prefix_len)
    dhcp = add(address, "dhcp")
    for mac, ip in hosts:
        add(dhcp, "host", mac=mac, ip=ip)
    return render(network)


def digest_in(text: str) -> str:
    """The digest in the network definition *text*; empty when it carries none of ours."""
    mark = parse(text).find(f"metadata/{{{NAMESPACE}}}network")
    return "" if mark is None else mark.get("digest", "")


def _digest(port: GuestPort) -> str:
    parts = (port.cidr, port.gateway, port.bridge, port.first, port.last, *port.dns, port.mtu, port.mac_index)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _hosts(port: GuestPort) -> Iterator[tuple[str, str]]:
    first, last = _pool(port)
    for offset in range(first, last + 1):
        ip = ip_of(port.cidr, offset)
        if ip != port.gateway:
            yield mac_of(port.mac_index, offset), ip


def _pool(port: GuestPort) -> tuple[int, int]:
    """First and last offset handed out; without bounds, all but the network's own address and the broadcast."""
    first = offset_of(port.cidr, port.first) if port.first else 1
    last = offset_of(port.cidr, port.last) if port.last else IPv4Network(port.cidr).num_addresses - 2
    return first, last

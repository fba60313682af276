"""Networks on this host: libvirt's nat networks made, bridges of the site found."""

from __future__ import annotations

from pathlib import Path

import libvirt

from agent.virt.libvirt.connection import Connection
from agent.virt.libvirt.fault import is_code
from agent.virt.libvirt.xml.network import digest_in, network_xml
from drover import errors
from drover.objects.catalog import NetworkKind
from drover.objects.guest import GuestPort
from drover.runtime import Runtime

__all__ = ["Networks"]

#: devices of the network namespace that the agent and libvirtd share
_DEVICES = Path("/sys/class/net")


class Networks:
    """What a port needs before its guest starts."""

    def __init__(self, runtime: Runtime, connection: Connection, *, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._turn = runtime.lock()  # builds that need the same new network make it once

    def ensure(self, port: GuestPort) -> None:
        """The port's bridge is there afterwards.

        :raises errors.BridgeNotFound: a network of kind bridge, and this host has no such bridge.
        :raises errors.InvalidNetwork: a nat network with too many addresses.
        :raises errors.DriverError: libvirt refuses, for instance because the bridge's name is taken.
        """
        if port.kind != NetworkKind.NAT:
            if not (_DEVICES / port.bridge / "bridge").is_dir():
                raise errors.BridgeNotFound(bridge=port.bridge, network=port.network_name)
            return
        xml = network_xml(port)
        with self._turn:
            self._connection.call(
                "make network", lambda conn: _make(conn, port.network_id, xml), timeout_s=self._timeout_s
            )


def _make(connection: libvirt.virConnect, network_id: str, xml: str) -> None:
    """Defined, set to start with libvirtd, and active.

    A definition that changed is replaced; an active network keeps its old one until it is next started, because
    restarting it would cut its guests off.
    """
    network = _find(connection, network_id)
    if network is None or digest_in(network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)) != digest_in(xml):
        network = connection.networkDefineXML(xml)
    if not network.autostart():
        network.setAutostart(1)
    if not network.isActive():
        try:
            network.create()
        except libvirt.libvirtError:
            if not network.isActive():  # else another agent of this libvirtd was faster
                raise


def _find(connection: libvirt.virConnect, network_id: str) -> libvirt.virNetwork | None:
    try:
        return connection.networkLookupByUUIDString(network_id)
    except libvirt.libvirtError as exc:
        if is_code(exc, libvirt.VIR_ERR_NO_NETWORK):
            return None
        raise

"""Networks and anti-spoof rules. The bodies run inside the host's namespaces, as the agent does."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from agent.virt.libvirt.antispoof import AntiSpoof, Binding
from agent.virt.libvirt.driver import LibvirtDriver
from drover import errors
from drover.objects.address import mac_of
from drover.objects.guest import GuestSpec
from drover.runtime.threads import ThreadRuntime
from tests.guest import write_image
from tests.integration.virt.conftest import NeverCancelled, tiny_spec
from tests.integration.virt.inside import NETWORK, inner_driver, nat_port
from tests.machine import Machine, wait_until
from tests.needs import require


@pytest.fixture(autouse=True)
def _parts() -> None:
    require("nftables", "dnsmasq")


def elements(name: str) -> list[list[str]]:
    """What a set of the ruleset holds."""
    text = subprocess.check_output(["nft", "-j", "list", "set", "bridge", "drover", name], text=True)
    found = [entry["set"] for entry in json.loads(text)["nftables"] if "set" in entry]
    return sorted(one["concat"] for one in found[0].get("elem", []))


def no_rules() -> None:
    subprocess.check_call(["nft", "add table bridge drover; delete table bridge drover"])


def build(driver: LibvirtDriver, spec: GuestSpec, image: Path) -> None:
    driver.create_disk(spec, str(image), NeverCancelled(ThreadRuntime()))
    driver.create_network(spec)
    driver.create_config(spec)
    driver.define(spec, "operation")
    driver.start(spec.uuid)


def inside_nat(work: str) -> None:
    """A guest on a nat network: from the first port to nothing left."""
    image = write_image(Path(work) / "image.raw")
    one, two = tiny_spec(ports=(nat_port(10),)), tiny_spec(ports=(nat_port(11),))
    with inner_driver(work) as driver:
        build(driver, one, image)
        build(driver, two, image)
        net = subprocess.check_output(["virsh", "net-list"], text=True)
        assert f"drover-{NETWORK[:8]}" in net
        assert "yes" in net  # autostart
        taps = subprocess.check_output(["ip", "-br", "link", "show", "master", "dvnat0"], text=True)
        assert "dv52540007000a" in taps
        assert "dv52540007000b" in taps
        hosts = Path(f"/var/lib/libvirt/dnsmasq/drover-{NETWORK[:8]}.hostsfile").read_text().split()
        assert hosts == [f"{mac_of(7, n)},10.99.0.{n}" for n in range(10, 21)]
        first = ["dv52540007000a", mac_of(7, 10), "10.99.0.10"]
        second = ["dv52540007000b", mac_of(7, 11), "10.99.0.11"]
        assert elements("address") == [first, second]
        # A reboot of the host, or a careless admin, empties nftables; the next start puts the rules back.
        no_rules()
        driver.reboot(one.uuid, "operation", hard=True)
        assert elements("address") == [first]
        assert elements("mac") == [first[:2]]
        driver.remove(one.uuid, 1)
        driver.remove(two.uuid, 1)
        assert elements("address") == elements("mac") == []
        assert driver.list_guests() == []


@pytest.mark.usefixtures("no_networks")
def test_nat_network(machine: Machine, tmp_path: Path) -> None:
    machine.call(inside_nat, str(tmp_path))


def inside_nat_again(work: str) -> None:
    """The definition follows the record; the live network keeps what its guests use."""
    with inner_driver(work) as driver:
        driver.create_network(tiny_spec(ports=(nat_port(10),)))
        live = subprocess.check_output(["virsh", "net-dumpxml", NETWORK], text=True)
        driver.create_network(tiny_spec(ports=(nat_port(10),)))
        driver.create_network(tiny_spec(ports=(nat_port(10, last="10.99.0.12"),)))
        assert subprocess.check_output(["virsh", "net-dumpxml", NETWORK], text=True) == live
        inactive = subprocess.check_output(["virsh", "net-dumpxml", "--inactive", NETWORK], text=True)
        assert live.count("<host ") == 11
        assert inactive.count("<host ") == 3


@pytest.mark.usefixtures("no_networks")
def test_nat_network_that_changes(machine: Machine, tmp_path: Path) -> None:
    machine.call(inside_nat_again, str(tmp_path))


def inside_bridge(work: str) -> None:
    port = nat_port(10, kind="bridge", bridge="br-site")
    with inner_driver(work) as driver:
        with pytest.raises(errors.BridgeNotFound):
            driver.create_network(tiny_spec(ports=(port,)))
        subprocess.check_call(["ip", "link", "add", "br-site", "type", "bridge"])
        driver.create_network(tiny_spec(ports=(port,)))
        with pytest.raises(errors.BridgeNotFound):  # a device, but no bridge
            driver.create_network(tiny_spec(ports=(replace(port, bridge="lo"),)))
    subprocess.check_call(["ip", "link", "del", "br-site"])


def test_bridge_network(machine: Machine, tmp_path: Path) -> None:
    machine.call(inside_bridge, str(tmp_path))


# --- packets ------------------------------------------------------------------------------------------------

MAC, OTHER_MAC, IP, OTHER_IP = "52:54:00:07:00:0a", "52:54:00:07:00:0b", "10.99.0.10", "10.99.0.11"
_END = b"the end"


def raw(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(source: str, ethertype: int, payload: bytes) -> bytes:
    return b"\xff" * 6 + raw(source) + struct.pack("!H", ethertype) + payload


def ipv4(source: str, payload: bytes, *, sport: int, dport: int) -> bytes:
    udp = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    addresses = IPv4Address(source).packed + b"\xff" * 4
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
    total: int = sum(struct.unpack("!10H", header))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF  # the bridge drops what has a wrong one
    return header[:10] + checksum.to_bytes(2, "big") + header[12:] + udp


def arp(mac: str, ip: str) -> bytes:
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + raw(mac) + IPv4Address(ip).packed + bytes(10)


FRAMES = {
    "own address": (True, frame(MAC, 0x0800, ipv4(IP, b"x", sport=1000, dport=1000))),
    "other ip": (False, frame(MAC, 0x0800, ipv4(OTHER_IP, b"x", sport=1000, dport=1000))),
    "other mac": (False, frame(OTHER_MAC, 0x0800, ipv4(IP, b"x", sport=1000, dport=1000))),
    "dhcp request without address": (True, frame(MAC, 0x0800, ipv4("0.0.0.0", b"x", sport=68, dport=67))),
    "no address, no dhcp": (False, frame(MAC, 0x0800, ipv4("0.0.0.0", b"x", sport=1000, dport=1000))),
    "dhcp server": (False, frame(MAC, 0x0800, ipv4(IP, b"x", sport=67, dport=68))),
    "own arp": (True, frame(MAC, 0x0806, arp(MAC, IP))),
    "arp probe": (True, frame(MAC, 0x0806, arp(MAC, "0.0.0.0"))),
    "arp for other ip": (False, frame(MAC, 0x0806, arp(MAC, OTHER_IP))),
    "arp for other mac": (False, frame(MAC, 0x0806, arp(OTHER_MAC, IP))),
    "arp probe for other mac": (False, frame(MAC, 0x0806, arp(OTHER_MAC, "0.0.0.0"))),
    "ipv6": (False, frame(MAC, 0x86DD, struct.pack("!IHBB", 6 << 28, 0, 59, 255) + bytes(31) + b"\x02")),
    "other protocol": (False, frame(MAC, 0x88B5, bytes(46))),
}


def packet_socket(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((device, 0))
    made.settimeout(30)
    return made


def inside_packets(_: str) -> None:
    """Three ports on one bridge: a guest's, a receiver, and a free one whose frame marks the end."""
    commands = "link add br-test type bridge; link set br-test up"
    for name, peer in (("dv52540007000a", "guest"), ("watch0", "watch"), ("free0", "free")):
        commands += f"; link add {name} type veth peer name {peer}; link set {name} master br-test up"
        commands += f"; link set {peer} up"
    for command in commands.split("; "):
        subprocess.check_call(["ip", *command.split()])
    guest, watch, free = (packet_socket(name) for name in ("guest", "watch", "free"))
    filters = AntiSpoof(ThreadRuntime(), enabled=True)
    binding = Binding(tap="dv52540007000a", mac=MAC, ip=IP)
    frames = [content for _, content in FRAMES.values()]

    def through() -> set[str]:
        for one in frames:
            guest.send(one)
        free.send(frame(OTHER_MAC, 0x88B5, _END.ljust(46)))
        seen = set()
        while True:
            got = watch.recv(2048)
            if _END in got:
                return {name for name, (_, content) in FRAMES.items() if content in seen}
            seen.add(got)

    no_rules()
    wait_until(lambda: through() == set(FRAMES), "the bridge to forward every frame")
    filters.allow([binding])
    filters.allow([binding])
    assert through() == {name for name, (allowed, _) in FRAMES.items() if allowed}
    filters.forget([binding])
    filters.forget([binding])
    assert through() == set()  # a tap without elements sends nothing


@pytest.fixture
def no_links(machine: Machine) -> Iterator[None]:
    """A guest of another test may want a tap of the same name."""
    yield
    for name in ("dv52540007000a", "watch0", "free0", "br-test"):
        machine.run(["ip", "link", "delete", name])


@pytest.mark.usefixtures("no_links")
def test_a_guest_sends_only_as_itself(machine: Machine, tmp_path: Path) -> None:
    machine.call(inside_packets, str(tmp_path))

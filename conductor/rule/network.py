"""Networks: what was asked for, checked and completed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from drover import errors
from drover.objects.catalog import Network, NetworkKind
from drover.objects.name import check_name, looks_like_id

__all__ = ["bridge_of", "check_overlap", "complete"]

#: kind -> shortest and longest prefix. A nat network's DHCP table is fixed, so it is kept to 1,022 hosts.
PREFIXES = {NetworkKind.NAT: (22, 30), NetworkKind.BRIDGE: (16, 30)}
#: bytes of a packet: what every IPv4 host takes (RFC 791), and common jumbo frames
MTU = (576, 9216)
MOST_DNS = 8

#: name of a network device: 15 characters and no slash (Linux); no wilder characters, since tools print it
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")


def bridge_of(network_id: str) -> str:
    """Name of the bridge that a nat network has on every host: ``drv`` and eight hex digits of its id."""
    return "drv" + network_id.replace("-", "")[:8].lower()


def complete(asked: Network) -> Network:
    """*asked* (with its id) with every default filled in; only ``mac_index`` and ``created_at`` are left.

    Gateway: the first host of a nat network (the bridge's own address on each host); none for a bridge. Pool:
    all hosts but a gateway at either end.

    :raises errors.InvalidName: its name.
    :raises errors.InvalidNetwork: anything else; the reason says what would do.
    """
    check_name(asked.name, "network")
    try:
        return _complete(asked)
    except ValueError as exc:
        raise errors.InvalidNetwork(name=asked.name, reason=str(exc)) from None


def check_overlap(new: Network, others: Iterable[Network]) -> None:
    """Addresses are unique in the fleet, and two routes to one range would cut guests off on a host with both.

    :raises errors.InvalidNetwork: *new* shares addresses with one of *others*.
    """
    block = IPv4Network(new.cidr)
    for other in others:
        if block.overlaps(IPv4Network(other.cidr)):
            reason = f"{new.cidr} overlaps {other.cidr} of network {other.name!r}"
            raise errors.InvalidNetwork(name=new.name, reason=reason)


def _complete(asked: Network) -> Network:
    if not looks_like_id(asked.id):
        raise ValueError(f"id {asked.id!r} is no UUID")
    if asked.mac_index:
        raise ValueError("the MAC index is given out by Drover")
    block = _block(asked)
    gateway = _gateway(asked, block)
    first, last = _pool(asked, block, gateway)
    if not MTU[0] <= asked.mtu <= MTU[1]:
        raise ValueError(f"MTU {asked.mtu} is outside {MTU[0]} to {MTU[1]}")
    return replace(
        asked,
        cidr=str(block),
        gateway=str(gateway or ""),
        bridge=_bridge(asked),
        first=str(first),
        last=str(last),
        dns=_dns(asked),
    )


def _block(asked: Network) -> IPv4Network:
    try:
        block = IPv4Network(asked.cidr, strict=False)
    except ValueError:
        raise ValueError(f"{asked.cidr!r} is no IPv4 network such as 10.20.0.0/24") from None
    if "/" not in asked.cidr or str(block) != asked.cidr:
        raise ValueError(f"{asked.cidr} is no network's own address; did you mean {block}?")
    shortest, longest = PREFIXES[asked.kind]
    if not shortest <= block.prefixlen <= longest:
        raise ValueError(f"a {asked.kind} network has a prefix of /{shortest} to /{longest}, not /{block.prefixlen}")
    if block.is_multicast or block.is_loopback or block.is_link_local or block.is_reserved or block.is_unspecified:
        raise ValueError(f"{block} is not for hosts")
    return block


def _gateway(asked: Network, block: IPv4Network) -> IPv4Address | None:
    if asked.gateway:
        return _host(asked.gateway, block, "gateway")
    return block.network_address + 1 if asked.kind is NetworkKind.NAT else None


def _pool(asked: Network, block: IPv4Network, gateway: IPv4Address | None) -> tuple[IPv4Address, IPv4Address]:
    lowest, highest = block.network_address + 1, block.broadcast_address - 1
    default_first = lowest + 1 if gateway == lowest else lowest
    default_last = highest - 1 if gateway == highest else highest
    first = _host(asked.first, block, "first address") if asked.first else default_first
    last = _host(asked.last, block, "last address") if asked.last else default_last
    if first > last:
        raise ValueError(f"the first address {first} comes after the last, {last}")
    if gateway is not None and first <= gateway <= last:
        raise ValueError(f"gateway {gateway} lies among the addresses handed out, {first} to {last}")
    return first, last


def _host(text: str, block: IPv4Network, what: str) -> IPv4Address:
    address = _address(text, what)
    if address not in block:
        raise ValueError(f"{what} {address} is outside {block}")
    if address in {block.network_address, block.broadcast_address}:
        raise ValueError(f"{what} {address} is the network's own or its broadcast address")
    return address


def _address(text: str, what: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError(f"{what} {text!r} is no IPv4 address") from None


def _dns(asked: Network) -> tuple[str, ...]:
    if len(asked.dns) > MOST_DNS:
        raise ValueError(f"{len(asked.dns)} name servers, at most {MOST_DNS}")
    return tuple(str(_address(text, "name server")) for text in asked.dns)


def _bridge(asked: Network) -> str:
    if asked.kind is NetworkKind.NAT:
        if asked.bridge:
            raise ValueError("the bridge of a nat network is made and named by Drover; give none")
        return bridge_of(asked.id)
    if not asked.bridge:
        raise ValueError("a bridge network needs the name of the hosts' bridge")
    if not _DEVICE.fullmatch(asked.bridge):
        raise ValueError(f"{asked.bridge!r} is no device name (1 to 15 of A-Z a-z 0-9 _ . -)")
    return asked.bridge

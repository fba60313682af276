"""Arithmetic of IPv4 networks: an address is a network and an *offset* from the network's own address.

Offset ``n`` of a network always has the MAC ``52:54:iiii:nnnn`` (its MAC index, *n*), so who knows the network
knows every pair of MAC and IP in it, and DHCP tables need no change when instances come and go.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

__all__ = ["LAST_INDEX", "ip_of", "mac_of", "offset_of", "pick", "prefix_len_of", "remotest"]

#: greatest MAC index and greatest offset: each fills two bytes of a MAC
LAST_INDEX = 0xFFFF


def mac_of(mac_index: int, offset: int) -> str:
    """The MAC of an offset in the network of *mac_index*: ``mac_of(1, 258)`` is ``52:54:00:01:01:02``.

    :raises ValueError: the index is outside 1..65535 or the offset outside 0..65535.
    """
    if not 1 <= mac_index <= LAST_INDEX:
        raise ValueError(f"MAC index {mac_index} is outside 1..{LAST_INDEX}")
    if not 0 <= offset <= LAST_INDEX:
        raise ValueError(f"offset {offset} is outside 0..{LAST_INDEX}")
    # 52 has the bit of locally administered addresses and not that of multicast.
    return (b"\x52\x54" + mac_index.to_bytes(2, "big") + offset.to_bytes(2, "big")).hex(":")


def ip_of(cidr: str, offset: int) -> str:
    """The address at an offset: ``ip_of("10.0.0.0/24", 5)`` is ``10.0.0.5``.

    :raises ValueError: no IPv4 network, or the offset is outside it.
    """
    network = IPv4Network(cidr)
    if not 0 <= offset < network.num_addresses:
        raise ValueError(f"offset {offset} is outside {cidr}")
    return str(network.network_address + offset)


def offset_of(cidr: str, ip: str) -> int:
    """The offset of an address in a network; inverse of :func:`ip_of`.

    :raises ValueError: no IPv4 network or address, or the address is outside the network.
    """
    network, address = IPv4Network(cidr), IPv4Address(ip)
    if address not in network:
        raise ValueError(f"{ip} is outside {cidr}")
    return int(address) - int(network.network_address)


def prefix_len_of(cidr: str) -> int:
    """``24`` for ``10.0.0.0/24``."""
    return IPv4Network(cidr).prefixlen


def pick(first: int, last: int, start: int, taken: Collection[int], count: int) -> list[int]:
    """Up to *count* offsets of first..last that are not *taken*: from *start* upwards, then from *first*.

    Going round puts off the reuse of a released address, which neighbours and leases may still remember.

    :param taken: fast to ask (a set).
    """
    begin = start if first <= start <= last else first
    found: list[int] = []
    for run in (range(begin, last + 1), range(first, begin)):
        for offset in run:
            if len(found) == count:
                return found
            if offset not in taken:
                found.append(offset)
    return found


def remotest(first: int, last: int, taken: Collection[int]) -> int:
    """The offset of first..last that is farthest from everything *taken*: the middle of the widest gap.

    Who does not know what was handed out lately begins there: mostly it was what followed on the taken ones.
    """
    bounds = [first - 1, *sorted(offset for offset in set(taken) if first <= offset <= last), last + 1]
    width, low = max((high - low, -low) for low, high in pairwise(bounds))
    return min(max(-low + width // 2, first), last)

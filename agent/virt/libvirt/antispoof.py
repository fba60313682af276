"""Guests send only as themselves: one static nftables ruleset and, for each port, two set elements.

Frames that enter from a guest's tap (``dv…``) pass when they carry the port's MAC and, in IPv4 and ARP, the
port's address.  ARP probes and DHCP requests, which have no address yet, pass too.  All else is dropped: other
protocols, IPv6 (Drover's networks are IPv4), and answers of a DHCP server.  A tap without elements sends
nothing, so the elements are put in before the guest starts; they are put in again at each start, because a
reboot of the host empties nftables.

One ``nft`` transaction does it all: the chains are written anew, the sets keep what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.virt.libvirt.folder import failed
from agent.virt.libvirt.program import run
from agent.virt.libvirt.xml.interface import TAP_PREFIX, tap_name
from drover import errors
from drover.objects import codec
from drover.objects.guest import GuestPort
from drover.runtime import Runtime

__all__ = ["AntiSpoof", "Binding", "allow", "bindings_of", "forget", "read", "to_json"]

_TIMEOUT_S = 30.0

_TAP = re.compile(rf"{TAP_PREFIX}[0-9a-f]{{12}}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_IP = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")

_RULESET = f"""\
add table bridge drover
add set bridge drover mac {{ type ifname . ether_addr; }}
add set bridge drover address {{ type ifname . ether_addr . ipv4_addr; }}
add chain bridge drover guest
add chain bridge drover prerouting {{ type filter hook prerouting priority -300; policy accept; }}
flush chain bridge drover guest
flush chain bridge drover prerouting
add rule bridge drover prerouting iifname "{TAP_PREFIX}*" jump guest
add rule bridge drover guest iifname . ether saddr != @mac drop
add rule bridge drover guest ether type arp iifname . arp saddr ether . arp saddr ip @address accept
add rule bridge drover guest ether type arp iifname . arp saddr ether @mac arp saddr ip 0.0.0.0 accept
add rule bridge drover guest ether type ip udp sport 67 drop
add rule bridge drover guest ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
add rule bridge drover guest ether type ip iifname . ether saddr . ip saddr @address accept
add rule bridge drover guest drop
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What one tap may send as."""

    tap: str
    mac: str
    ip: str


codec.prepare(Binding)


def bindings_of(ports: Sequence[GuestPort]) -> tuple[Binding, ...]:
    return tuple(Binding(tap=tap_name(port.mac), mac=port.mac, ip=port.ip) for port in ports)


def allow(bindings: Sequence[Binding]) -> str:
    """The nft script that lets *bindings* send; it may run again and again."""
    return _RULESET + "".join(f"add {line}" for line in _elements(bindings))


def forget(bindings: Sequence[Binding]) -> str:
    """The nft script that takes *bindings* back. Deleting what is not there would fail, hence the add."""
    return _RULESET + "".join(f"add {line}delete {line}" for line in _elements(bindings))


def _elements(bindings: Sequence[Binding]) -> list[str]:
    """:raises errors.BadInput: what would be more to nft than an address."""
    lines: list[str] = []
    for one in bindings:
        if not (_TAP.fullmatch(one.tap) and _MAC.fullmatch(one.mac) and _IP.fullmatch(one.ip)):
            raise errors.BadInput(reason=f"no addresses of a port: {one}")
        lines.append(f'element bridge drover mac {{ "{one.tap}" . {one.mac} }}\n')
        lines.append(f'element bridge drover address {{ "{one.tap}" . {one.mac} . {one.ip} }}\n')
    return lines


class AntiSpoof:
    """Runs the scripts in the agent's own network namespace, which is the host's.

    :param enabled: false leaves nftables alone.
    """

    def __init__(self, runtime: Runtime, *, enabled: bool) -> None:
        self._runtime = runtime
        self._enabled = enabled

    def allow(self, bindings: Sequence[Binding]) -> None:
        """:raises errors.DriverError: nft is not installed, or not permitted."""
        self._apply(bindings, allow(bindings))

    def forget(self, bindings: Sequence[Binding]) -> None:
        """None there is fine."""
        self._apply(bindings, forget(bindings))

    def _apply(self, bindings: Sequence[Binding], script: str) -> None:
        if self._enabled and bindings:
            run(self._runtime, ["nft", "-f", "-"], timeout_s=_TIMEOUT_S, feed=script)


def to_json(bindings: Sequence[Binding]) -> bytes:
    """For the guest's folder: what to take back when the domain is gone."""
    return codec.to_json(tuple(bindings)).encode()


def read(path: Path) -> tuple[Binding, ...]:
    """What :func:`to_json` wrote to *path*; empty when there is no such file.

    :raises errors.DriverError: it cannot be read.
    """
    try:
        return codec.from_json(path.read_bytes(), tuple[Binding, ...], what=path.name)
    except FileNotFoundError:
        return ()
    except OSError as exc:
        raise failed(exc, path.name, path.parent) from exc

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.rule.network import bridge_of, check_overlap, complete
from drover import errors
from drover.objects.catalog import Network, NetworkKind

ID = "0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d"
NAT = Network(id=ID, name="private", kind=NetworkKind.NAT, cidr="10.20.0.0/24")
BRIDGE = Network(id=ID, name="public", kind=NetworkKind.BRIDGE, cidr="192.0.0.0/16", bridge="br0")


def test_defaults_of_nat() -> None:
    made = complete(NAT)
    assert (made.gateway, made.first, made.last) == ("10.20.0.1", "10.20.0.2", "10.20.0.254")
    assert made.bridge == bridge_of(ID) == "drv0b8ee2a5"


def test_defaults_of_bridge() -> None:
    made = complete(BRIDGE)
    assert (made.gateway, made.first, made.last, made.bridge) == ("", "192.0.0.1", "192.0.255.254", "br0")


def test_a_gateway_at_the_upper_end_leaves_the_rest() -> None:
    made = complete(replace(BRIDGE, gateway="192.0.255.254"))
    assert (made.first, made.last) == ("192.0.0.1", "192.0.255.253")


def test_what_is_given_is_kept() -> None:
    asked = replace(
        NAT, gateway="10.20.0.9", first="10.20.0.10", last="10.20.0.10", dns=("9.9.9.9", "1.1.1.1"), mtu=9000
    )
    assert complete(asked) == replace(asked, bridge="drv0b8ee2a5")


@given(base=st.integers(10 << 24, (11 << 24) - 1), prefix=st.integers(22, 30))
def test_every_nat_network_is_sound(base: int, prefix: int) -> None:
    block = IPv4Network((base, prefix), strict=False)
    made = complete(replace(NAT, cidr=str(block)))
    first, last, gateway = (IPv4Address(text) for text in (made.first, made.last, made.gateway))
    assert {first, last, gateway} <= set(block.hosts())
    assert first <= last
    assert not first <= gateway <= last
    assert len(made.bridge) <= 15


@pytest.mark.parametrize(
    ("network", "word"),
    [
        (replace(NAT, cidr=""), "no IPv4 network"),
        (replace(NAT, cidr="fd00::/64"), "no IPv4 network"),
        (replace(NAT, cidr="10.20.0.5/24"), "did you mean 10.20.0.0/24"),
        (replace(NAT, cidr="10.20.0.0"), "did you mean"),
        (replace(NAT, cidr="10.20.0.0/255.255.255.0"), "did you mean 10.20.0.0/24"),
        (replace(NAT, cidr="10.16.0.0/21"), "/22 to /30"),
        (replace(NAT, cidr="10.20.0.0/31"), "/22 to /30"),
        (replace(BRIDGE, cidr="192.0.0.0/15"), "/16 to /30"),
        (replace(NAT, cidr="127.0.0.0/24"), "not for hosts"),
        (replace(NAT, cidr="224.0.0.0/24"), "not for hosts"),
        (replace(NAT, cidr="169.254.1.0/24"), "not for hosts"),
        (replace(NAT, gateway="10.20.1.1"), "outside"),
        (replace(NAT, gateway="10.20.0.0"), "own or its broadcast"),
        (replace(NAT, gateway="10.20.0.255"), "own or its broadcast"),
        (replace(NAT, gateway="10.20.0.50"), "among the addresses"),
        (replace(NAT, first="10.20.0.1"), "among the addresses"),
        (replace(NAT, first="10.20.0.9", last="10.20.0.8"), "comes after"),
        (replace(NAT, first="10.20.9.9"), "outside"),
        (replace(NAT, last="x"), "no IPv4 address"),
        (replace(NAT, dns=("dns.example",)), "name server"),
        (replace(NAT, dns=("9.9.9.9",) * 9), "at most 8"),
        (replace(NAT, mtu=100), "MTU"),
        (replace(NAT, mtu=70000), "MTU"),
        (replace(NAT, bridge="br0"), "give none"),
        (replace(NAT, mac_index=3), "given out"),
        (replace(NAT, id="7"), "UUID"),
        (replace(BRIDGE, bridge=""), "needs the name"),
        (replace(BRIDGE, bridge="a" * 16), "device name"),
        (replace(BRIDGE, bridge="br/0"), "device name"),
        (replace(BRIDGE, bridge="br 0"), "device name"),
        (replace(BRIDGE, bridge=".."), "device name"),
        (replace(BRIDGE, bridge="-x"), "device name"),
    ],
)
def test_bad_networks_say_why(network: Network, word: str) -> None:
    with pytest.raises(errors.InvalidNetwork, match=word):
        complete(network)


def test_overlap_names_the_other() -> None:
    other = replace(complete(NAT), name="older", cidr="10.20.0.128/25")
    with pytest.raises(errors.InvalidNetwork, match="older"):
        check_overlap(complete(NAT), [other])
    check_overlap(complete(NAT), [replace(other, cidr="10.20.1.0/24")])

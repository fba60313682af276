from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.objects.address import ip_of, mac_of, offset_of, pick, prefix_len_of, remotest

INDEXES = st.integers(1, 0xFFFF)
OFFSETS = st.integers(0, 0xFFFF)
CIDRS = st.builds(
    lambda base, prefix: str(IPv4Network((base, prefix), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(16, 30),
)


def test_examples() -> None:
    assert mac_of(1, 258) == "52:54:00:01:01:02"
    assert mac_of(0xFFFF, 0xFFFF) == "52:54:ff:ff:ff:ff"
    assert ip_of("10.0.0.0/24", 5) == "10.0.0.5"
    assert offset_of("10.0.0.0/16", "10.0.1.2") == 258
    assert prefix_len_of("10.0.0.0/22") == 22


@given(index=INDEXES, offset=OFFSETS)
def test_a_mac_tells_its_index_and_offset_and_is_no_multicast(index: int, offset: int) -> None:
    octets = bytes.fromhex(mac_of(index, offset).replace(":", ""))
    assert (int.from_bytes(octets[2:4], "big"), int.from_bytes(octets[4:], "big")) == (index, offset)
    assert octets[0] & 0b01 == 0  # unicast
    assert octets[0] & 0b10  # locally administered


@given(cidr=CIDRS, data=st.data())
def test_ip_and_offset_are_inverse_and_stay_inside(cidr: str, data: st.DataObject) -> None:
    network = IPv4Network(cidr)
    offset = data.draw(st.integers(0, network.num_addresses - 1))
    assert offset_of(cidr, ip_of(cidr, offset)) == offset
    for outside in (-1, network.num_addresses):
        with pytest.raises(ValueError, match="outside"):
            ip_of(cidr, outside)


@pytest.mark.parametrize(("index", "offset"), [(0, 1), (0x10000, 1), (1, -1), (1, 0x10000)])
def test_what_fits_no_mac_is_refused(index: int, offset: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        mac_of(index, offset)


def test_an_address_of_another_network_has_no_offset() -> None:
    with pytest.raises(ValueError, match="outside"):
        offset_of("10.0.0.0/24", "10.0.1.0")


@given(
    first=st.integers(1, 40),
    size=st.integers(1, 40),
    start=st.integers(0, 100),
    taken=st.sets(st.integers(0, 90)),
    count=st.integers(0, 50),
)
def test_pick_takes_each_free_offset_once_as_far_as_they_go(
    first: int, size: int, start: int, taken: set[int], count: int
) -> None:
    last = first + size - 1
    found = pick(first, last, start, taken, count)
    free = [n for n in range(first, last + 1) if n not in taken]
    assert len(found) == len(set(found)) == min(count, len(free))
    assert set(found) <= set(free)
    begin = start if first <= start <= last else first
    assert found == sorted(free, key=lambda n: (n < begin, n))[:count]


@pytest.mark.parametrize(
    ("first", "last", "taken", "expected"),
    [
        (2, 254, (), 128),
        (2, 254, range(2, 52), 153),
        (2, 254, (*range(2, 52), *range(200, 255)), 125),
        (2, 254, range(2, 255), 2),
        (2, 2, (), 2),
        (2, 10, (1, 99), 6),
    ],
)
def test_the_remotest_offset_is_in_the_middle_of_the_widest_gap(
    first: int, last: int, taken: tuple[int, ...], expected: int
) -> None:
    found = remotest(first, last, taken)
    assert found == expected
    assert remotest(first, last, set(taken)) == found, "whatever their order"

"""What libvirt's statistics mean."""

from __future__ import annotations

from agent.virt.libvirt.diagnostics import disks_of, nics_of

STATS = {
    "net.count": 2,
    "net.0.rx.bytes": 10,
    "net.0.tx.pkts": 3,
    "net.1.rx.drop": 4,
    "block.count": 2,
    "block.0.name": "vda",
    "block.0.rd.bytes": 512,
    "block.0.rd.reqs": 1,
    "block.1.name": "vdb",
    "block.1.errors": 2,
}


def test_disks() -> None:
    first, second = disks_of(STATS)
    assert first == {
        "device": "vda",
        "read_bytes": 512,
        "read_requests": 1,
        "write_bytes": 0,
        "write_requests": 0,
        "errors": 0,
    }
    assert (second["device"], second["errors"]) == ("vdb", 2)


def test_interfaces_by_mac() -> None:
    first, second = nics_of(STATS, ["52:54:00:00:00:01", "52:54:00:00:00:02"])
    assert (first["mac"], first["rx_octets"], first["tx_packets"]) == ("52:54:00:00:00:01", 10, 3)
    assert (second["mac"], second["rx_drop"], second["tx_errors"]) == ("52:54:00:00:00:02", 4, 0)


def test_a_guest_that_is_busy_tells_nothing() -> None:
    assert disks_of({}) == ()
    assert nics_of({}, ["52:54:00:00:00:01"]) == ()

"""What a lab is: bounds, growth, ports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drover import errors
from drover.lab import spec
from drover.lab.layout import Layout
from drover.lab.spec import Driver, LabSpec

FAKE = LabSpec(hosts=3, driver=Driver.FAKE)
PLACE = Path("/var/lib/drover-lab")


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FAKE, hosts=0),
        replace(FAKE, hosts=spec.MAX_HOSTS + 1),
        replace(FAKE, conductors=0),
        replace(FAKE, schedulers=spec.MAX_SERVICES + 1),
    ],
)
def test_impossible_labs_are_refused(wrong: LabSpec) -> None:
    with pytest.raises(errors.BadInput):
        spec.validate(wrong, PLACE)


def test_a_directory_must_leave_room_for_the_longest_socket() -> None:
    spec.validate(FAKE, PLACE)
    room = spec.MAX_SOCKET_PATH - len("/" + str(Layout(Path("/")).socket("host3")))
    spec.validate(FAKE, Path("/" + "d" * room))
    with pytest.raises(errors.BadInput, match="too long"):
        spec.validate(FAKE, Path("/" + "d" * (room + 1)))


def test_a_directory_without_colons_keeps_marks_apart() -> None:
    with pytest.raises(errors.BadInput, match="colons"):
        spec.validate(FAKE, Path("/tmp/a:b"))


def test_a_lab_grows_and_keeps_its_ports() -> None:
    found = replace(FAKE, first_port=20000, settings={"times": {"sync_interval_s": "1"}})
    assert spec.settled(replace(FAKE, hosts=5), found) == replace(found, hosts=5)
    assert spec.settled(FAKE, None) == FAKE


@pytest.mark.parametrize("wanted", [replace(FAKE, hosts=2), replace(FAKE, driver=Driver.LIBVIRT)])
def test_a_lab_neither_shrinks_nor_changes_its_kind(wanted: LabSpec) -> None:
    with pytest.raises(errors.BadInput, match="down"):
        spec.settled(wanted, FAKE)


def test_no_two_things_of_a_lab_share_a_port() -> None:
    lab = LabSpec(hosts=spec.MAX_HOSTS, conductors=spec.MAX_SERVICES, first_port=20000)
    taken = [
        lab.broker_port,
        lab.broker_dist_port,
        lab.broker_dist_port + 1,
        lab.database_port,
        *(lab.depot_port(number) for number in range(1, lab.conductors + 1)),
        *(lab.link_port(host) for host in lab.host_names()),
    ]
    assert len(set(taken)) == len(taken)
    assert min(taken) == 20000
    assert max(taken) < 20000 + 256


def test_addresses_and_links_follow_the_number_of_the_host() -> None:
    assert spec.address_of("host7") == "10.77.0.7"
    assert spec.number_of("host200") == 200
    for name in ("host0", "hostx", "web", "host1.agent", ""):
        with pytest.raises(errors.HostNotFound):
            spec.number_of(name)


def test_identities_differ_between_hosts_and_between_labs() -> None:
    seen = {spec.host_uuid_of(host, place) for host in ("host1", "host2") for place in (PLACE, Path("/tmp/lab"))}
    assert len(seen) == 4
    assert spec.host_uuid_of("host1", PLACE) == spec.host_uuid_of("host1", PLACE)

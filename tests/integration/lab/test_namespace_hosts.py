"""Hosts of namespaces, without Drover's services: they are machines of their own, and leave nothing."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from drover import errors
from drover.lab.lab import Lab
from drover.lab.spec import LabSpec
from drover.runtime.threads import ThreadRuntime
from tests.integration.lab import world
from tests.needs import require

SPEC = LabSpec(hosts=2, services=False)
NAME = "probe"
#: boots from nothing and waits for a disk for ever
DOMAIN = f"""\
<domain type='qemu'><name>{NAME}</name><uuid>{uuid.uuid4()}</uuid><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<features><acpi/><tcg><tb-cache unit='MiB'>1</tb-cache></tcg></features></domain>
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require("root", "netns", "libvirt", "qemu")
    with world.short_directory() as directory:
        made = Lab(directory, ThreadRuntime())
        before = world.mounts_and_links()
        try:
            made.up(SPEC)
            yield made
            spaces = world.namespaces(world.processes(directory))
            assert len(spaces) >= 7  # three of each host and the fabric's network
            inside = world.members(spaces)
        finally:
            made.down()
        assert world.processes(directory) == {}
        # Nobody is left in its namespaces; their numbers may be others' by now.
        assert not inside & world.members(spaces)
        assert world.mounts_and_links() == before
        assert not directory.exists()


def virsh(lab: Lab, host: str, *words: str, text: str = "") -> str:
    command = ["virsh", "--quiet", "--connect", lab.uri(host), *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def reaches(lab: Lab, source: str, target: str) -> bool:
    """Whether a TCP connection to libvirtd of *target* comes about."""
    talk = ["timeout", "3", "bash", "-c", f"</dev/tcp/{target}/16509"]
    return lab.run(source, talk).returncode == 0


def states(lab: Lab) -> dict[str, str]:
    return {part.name: part.state for part in lab.status()}


def test_each_host_is_a_machine_of_its_own(lab: Lab) -> None:
    seen = []
    for host in SPEC.host_names():
        name = lab.run(host, ["hostname"]).stdout.strip()
        address = lab.run(host, ["ip", "-brief", "-4", "addr", "show", "eth0"]).stdout.split()[2]
        bridge = lab.run(host, ["ls", "/sys/class/net/br0/brif"]).stdout.split()
        assert bridge == ["eth1"]
        identity = virsh(lab, host, "capabilities").partition("<uuid>")[2].partition("<")[0]
        seen.append((name, address, identity))
    assert [(name, address) for name, address, _ in seen] == [("host1", "10.77.0.1/24"), ("host2", "10.77.0.2/24")]
    assert len({identity for *_, identity in seen}) == 2


def test_hosts_see_only_their_own_processes(lab: Lab) -> None:
    shown = lab.run("host1", ["ps", "-e", "-o", "comm="]).stdout.split()
    assert shown.count("libvirtd") == 1
    assert shown[0].startswith("python")
    assert lab.run("host1", ["ps", "-p", "1", "-o", "comm="]).stdout.startswith("python")


def test_a_cut_host_is_reached_by_nobody_until_it_is_healed(lab: Lab, runtime: ThreadRuntime) -> None:
    assert reaches(lab, "host2", "10.77.0.1")
    lab.cut("host1")
    try:
        assert states(lab)["host1"] == "cut"
        assert not reaches(lab, "host2", "10.77.0.1")
        assert not reaches(lab, "host1", "10.77.0.254")
    finally:
        lab.heal("host1")
    while not reaches(lab, "host2", "10.77.0.1"):
        runtime.sleep(0.1)
    assert states(lab)["host1"] == "up"


def test_guests_survive_libvirtd_and_die_with_their_host(lab: Lab) -> None:
    virsh(lab, "host1", "define", "/dev/stdin", text=DOMAIN)
    virsh(lab, "host1", "start", NAME)
    lab.kill("host1.libvirtd")
    assert states(lab)["host1.libvirtd"] == "down"
    assert "qemu-system" in lab.run("host1", ["ps", "-e", "-o", "args="]).stdout
    lab.up(SPEC)
    assert virsh(lab, "host1", "domstate", NAME) == "running"

    lab.crash("host1")
    assert {state for name, state in states(lab).items() if name.startswith("host1")} == {"down"}
    with pytest.raises(errors.LabFailed, match="does not run"):
        lab.run("host1", ["true"])
    first = lab.layout.host("host1").joinpath("boot-id").read_text()
    lab.boot("host1")
    assert lab.layout.host("host1").joinpath("boot-id").read_text() != first
    assert virsh(lab, "host1", "domstate", NAME) == "shut off"
    assert reaches(lab, "host1", "10.77.0.2")


def test_without_the_fabric_up_lays_every_cable_anew(lab: Lab) -> None:
    lab.kill("fabric")
    lab.up(SPEC)
    assert reaches(lab, "host1", "10.77.0.2")
    assert reaches(lab, "fabric", "10.77.0.2")
    assert set(states(lab).values()) == {"up"}


def test_what_is_not_there_is_said(lab: Lab) -> None:
    for work in (lab.crash, lab.boot, lab.cut, lab.heal, lab.uri):
        with pytest.raises(errors.HostNotFound):
            work("host9")
    for change in (lab.kill, lab.restart):
        with pytest.raises(errors.NotFound):
            change("host9.agent")
        with pytest.raises(errors.NotFound):
            change("conductor")  # this lab has none
    with pytest.raises(errors.BadInput, match="down"):
        lab.up(LabSpec(hosts=1, services=False))

"""Domain and network XML: golden files, libvirt's own schemas, hostile input."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from agent.virt.libvirt.folder import Folder
from agent.virt.libvirt.xml.backup import backup_target, backup_xml, disk_of
from agent.virt.libvirt.xml.channel import agent_connected
from agent.virt.libvirt.xml.domain import domain_xml
from agent.virt.libvirt.xml.interface import tap_name
from agent.virt.libvirt.xml.network import MAX_HOSTS, digest_in, network_name, network_xml
from agent.virt.libvirt.xml.platform import tb_cache_mib
from agent.virt.libvirt.xml.shape import Shape
from drover import errors
from drover.objects.guest import GuestSpec
from drover.objects.hardware import CellClaim, HardwareClaim
from tests.needs import require
from tests.unit.agent.virt.libvirt.spec import make_port, make_spec

_SCHEMAS = Path("/usr/share/libvirt/schemas")
_FOLDER = Folder(Path("/var/lib/drover/instances/6f6c1f0e-3c6b-4a53-9d53-0a5a4c1d2e3f/3"))

DOMAINS: dict[str, tuple[GuestSpec, Shape, str]] = {
    "small": (make_spec(), Shape(), "qemu"),
    "small-kvm": (make_spec(), Shape(cpu_mode="host-passthrough"), "kvm"),
    "small-kvm-default-cpu": (make_spec(), Shape(), "kvm"),
    "tiny": (make_spec(vcpus=1, memory_mib=16, ports=(), ssh_keys=(), metadata={}), Shape(), "qemu"),
    "q35-no-screen": (make_spec(), Shape(machine="q35", vnc=False, disk_cache="writeback"), "qemu"),
    "two-ports": (
        make_spec(ports=(make_port(), make_port(mac="52:54:00:02:00:05", bridge="br-site", mtu=1500))),
        Shape(),
        "qemu",
    ),
    "hostile": (
        make_spec(
            name="</title><devices/>\n\x00&amp;",
            flavor_name='"><x>',
            project_id="]]>",
            metadata={"</drover:property>": "<!-- \x1b[31m", "": "\u202e"},
        ),
        Shape(),
        "qemu",
    ),
}

_PINNED = HardwareClaim(
    cells=(CellClaim(cell=0, vcpus=2, memory_mib=2048, cpus=(4, 12), reserved=(5, 13)),),
)
DOMAINS |= {
    "pinned": (make_spec(hardware=_PINNED), Shape(shared_cpus=(0, 1), cell_cpus={0: (0, 1)}), "qemu"),
    "beside-dedicated-cpus": (make_spec(), Shape(shared_cpus=(0, 1, 2, 8), cell_cpus={0: (0, 1, 2, 8)}), "qemu"),
    "huge-pages-on-two-cells": (
        make_spec(
            vcpus=3,
            memory_mib=3072,
            hardware=HardwareClaim(
                cells=(
                    CellClaim(cell=1, vcpus=2, memory_mib=2048, page_kib=1048576, cpus=(9, 25)),
                    CellClaim(cell=0, vcpus=1, memory_mib=1024, page_kib=1048576, cpus=(3,)),
                )
            ),
        ),
        Shape(cpu_mode="host-passthrough"),
        "kvm",
    ),
    "cells-of-shared-cpus": (
        make_spec(
            hardware=HardwareClaim(
                cells=(CellClaim(cell=0, vcpus=1, memory_mib=1024), CellClaim(cell=1, vcpus=1, memory_mib=1024))
            )
        ),
        Shape(cell_cpus={0: (0, 1, 4, 5), 1: (2, 3, 6, 7)}),
        "kvm",
    ),
    "pci-devices": (
        make_spec(hardware=HardwareClaim(devices=("0000:3b:00.1", "0001:af:1f.7"))),
        Shape(machine="q35"),
        "kvm",
    ),
}


@cache
def schema(name: str) -> Any:
    require("libvirt")
    return etree.RelaxNG(etree.parse(str(_SCHEMAS / f"{name}.rng")))


def assert_valid(text: str, name: str) -> Any:
    document = etree.fromstring(text.encode())
    assert schema(name).validate(document), schema(name).error_log
    return document


def render(spec: GuestSpec, shape: Shape, virt_type: str, *, rescue: bool = False) -> str:
    return domain_xml(spec, shape, _FOLDER, virt_type=virt_type, operation_id="4e0c6d1a-operation", rescue=rescue)


@pytest.mark.parametrize("name", DOMAINS)
def test_domain(name: str, golden: Callable[[str, str], None]) -> None:
    text = render(*DOMAINS[name])
    assert_valid(text, "domain")
    golden(f"domain/{name}.xml", text)


def test_a_rescued_domain_boots_from_the_rescue_disk_and_has_its_own_second(golden: Callable[[str, str], None]) -> None:
    text = render(make_spec(), Shape(), "qemu", rescue=True)
    document = assert_valid(text, "domain")
    disks = [(disk.find("target").get("dev"), disk.find("source").get("file")) for disk in document.iter("disk")]
    assert disks == [
        ("vda", str(_FOLDER.rescue)),
        ("vdb", str(_FOLDER.disk)),
        ("vdc", str(_FOLDER.config)),
    ]
    plain = assert_valid(render(make_spec(), Shape(), "qemu"), "domain")
    assert [etree.tostring(nic) for nic in document.iter("interface")] == [
        etree.tostring(nic) for nic in plain.iter("interface")
    ]
    golden("domain/rescue.xml", text)


def test_backup(golden: Callable[[str, str], None]) -> None:
    text = backup_xml("vda", str(_FOLDER.snapshot("4e0c6d1a-operation")))
    assert_valid(text, "domainbackup")
    assert backup_target(text) == str(_FOLDER.snapshot("4e0c6d1a-operation"))
    golden("backup/snapshot.xml", text)


@pytest.mark.parametrize(
    "text",
    [
        "<domainbackup mode='pull'><server transport='tcp' name='h' port='1'/></domainbackup>",
        "<domainbackup><disks><disk name='vda' backup='no'/></disks></domainbackup>",
        "<domainbackup><disks><disk name='vda' backup='yes' type='block'><target dev='/dev/x'/></disk></disks></domainbackup>",
    ],
)
def test_somebody_elses_backup_has_no_target_of_ours(text: str) -> None:
    assert backup_target(text) == ""


def test_a_disk_is_found_by_its_file() -> None:
    text = render(make_spec(), Shape(), "qemu", rescue=True)
    assert disk_of(text, str(_FOLDER.disk)) == "vdb"
    with pytest.raises(errors.DriverError):
        disk_of(text, "/elsewhere")


def test_an_agent_is_there_once_its_channel_is_connected() -> None:
    text = render(make_spec(), Shape(), "qemu")
    name = 'name="org.qemu.guest_agent.0"'
    assert not agent_connected(text)
    assert not agent_connected(text.replace(name, f'{name} state="disconnected"'))
    assert agent_connected(text.replace(name, f'{name} state="connected"'))
    assert not agent_connected(text.replace(name, 'name="com.redhat.spice.0" state="connected"'))


_ANY = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(max_examples=60)
@given(name=_ANY, flavor=_ANY, project=_ANY, metadata=st.dictionaries(_ANY, _ANY, max_size=4))
def test_no_text_changes_the_structure(name: str, flavor: str, project: str, metadata: dict[str, str]) -> None:
    spec = make_spec(name=name, flavor_name=flavor, project_id=project, metadata=metadata)
    document = assert_valid(render(spec, Shape(), "qemu"), "domain")
    plain = assert_valid(render(make_spec(metadata={}), Shape(), "qemu"), "domain")
    assert [child.tag for child in document.find("devices")] == [child.tag for child in plain.find("devices")]
    assert [child.tag for child in document] == [child.tag for child in plain]
    assert len(document.find("metadata")[0]) == len(plain.find("metadata")[0]) + len(metadata)


def test_tb_cache_fits_the_guest() -> None:
    sizes = {memory_mib: tb_cache_mib(memory_mib) for memory_mib in (1, 16, 64, 79, 80, 96, 4096)}
    assert sizes == {1: 1, 16: 1, 64: 4, 79: 4, 80: 48, 96: 48, 4096: 48}


def test_a_tap_name_fits_the_kernel() -> None:
    assert tap_name("52:54:00:01:00:0A") == "dv52540001000a"
    assert len(tap_name("52:54:00:01:00:0A")) <= 15


def test_network(golden: Callable[[str, str], None]) -> None:
    text = network_xml(make_port())
    assert_valid(text, "network")
    golden("network/nat.xml", text)


def test_a_network_is_the_same_from_each_of_its_ports() -> None:
    one, other = make_port(), make_port(mac="52:54:00:01:00:0b", ip="10.0.0.11")
    assert network_xml(one) == network_xml(other)


def test_a_changed_network_has_another_digest() -> None:
    digests = {
        digest_in(network_xml(make_port(**change)))
        for change in ({}, {"mtu": 9000}, {"dns": ()}, {"last": "10.0.0.13"}, {"bridge": "dvbr0002"})
    }
    assert len(digests) == 5
    assert "" not in digests
    assert digest_in("<network><name>default</name></network>") == ""


def test_a_network_without_bounds_hands_out_all_but_its_edges_and_the_gateway() -> None:
    document = etree.fromstring(network_xml(make_port(cidr="10.0.0.0/29", first="", last="")).encode())
    hosts = [(host.get("mac"), host.get("ip")) for host in document.iter("host")]
    assert hosts == [(f"52:54:00:01:00:{n:02x}", f"10.0.0.{n}") for n in range(2, 7)]


def test_a_network_may_be_a_22_and_not_more() -> None:
    text = network_xml(make_port(cidr="10.0.0.0/22", prefix_len=22, first="", last=""))
    assert text.count("<host ") == MAX_HOSTS - 1  # the gateway needs no lease
    with pytest.raises(errors.InvalidNetwork):
        network_xml(make_port(cidr="10.0.0.0/21", prefix_len=21, first="", last=""))


def test_network_name() -> None:
    assert network_name("0f5a1d6e-94a3-4b7d-8f0e-0f3c0f5b8a10") == "drover-0f5a1d6e"

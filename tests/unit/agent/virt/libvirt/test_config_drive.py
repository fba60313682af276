"""The NoCloud ISO."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from typing import Any

import pycdlib
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.virt.libvirt import config_drive
from drover.objects.guest import GuestSpec
from tests.unit.agent.virt.libvirt.spec import make_port, make_spec


def read_back(content: bytes) -> dict[str, bytes]:
    image: Any = pycdlib.PyCdlib()
    image.open_fp(io.BytesIO(content))
    assert image.pvd.volume_identifier.rstrip() == b"cidata"
    found = {}
    for child in image.list_children(joliet_path="/"):
        if child.is_file():
            name = child.file_identifier().decode("utf-16_be")
            target = io.BytesIO()
            image.get_file_from_iso_fp(target, joliet_path=f"/{name}")
            found[name] = target.getvalue()
    image.close()
    return found


def test_the_iso_holds_the_nocloud_files() -> None:
    spec = make_spec(user_data="#!/bin/sh\necho hello\n")
    assert read_back(config_drive.iso(spec)) == config_drive.files(spec)
    assert sorted(config_drive.files(spec)) == ["meta-data", "network-config", "user-data"]
    assert config_drive.files(spec)["user-data"] == b"#!/bin/sh\necho hello\n"
    assert yaml.safe_load(config_drive.files(spec)["meta-data"]) == {
        "instance-id": spec.uuid,
        "local-hostname": "web-1",
        "public-keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA ann@desk"],
    }


def test_network_config() -> None:
    ports = (make_port(), make_port(mac="52:54:00:02:00:05", ip="10.1.0.5", prefix_len=16, gateway="10.1.0.1", dns=()))
    assert yaml.safe_load(config_drive.files(make_spec(ports=ports))["network-config"]) == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "52:54:00:01:00:0a"},
                "set-name": "eth0",
                "dhcp4": False,
                "dhcp6": False,
                "addresses": ["10.0.0.10/24"],
                "mtu": 1450,
                "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
                "nameservers": {"addresses": ["9.9.9.9", "1.1.1.1"]},
            },
            "eth1": {
                "match": {"macaddress": "52:54:00:02:00:05"},
                "set-name": "eth1",
                "dhcp4": False,
                "dhcp6": False,
                "addresses": ["10.1.0.5/16"],
                "mtu": 1450,
                "nameservers": {"addresses": ["10.1.0.1"]},
            },
        },
    }


@pytest.fixture
def far_east() -> Iterator[None]:
    """Another time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_the_bytes_depend_on_the_spec_alone(far_east: None) -> None:
    content = config_drive.iso(make_spec())
    year = str(time.gmtime().tm_year).encode()
    assert year not in content[16 * 2048 : 18 * 2048]  # the volume descriptors
    assert bytes((time.gmtime().tm_year - 1900, time.gmtime().tm_mon)) not in content[19 * 2048 : 30 * 2048]
    os.environ["TZ"] = "UTC"
    time.tzset()
    assert config_drive.iso(make_spec()) == content


_ANY = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(max_examples=50)
@given(hostname=_ANY, key=_ANY, user_data=_ANY)
@example(hostname="\x85", key="\u2028", user_data="")
def test_hostile_content_stays_content(hostname: str, key: str, user_data: str) -> None:
    spec: GuestSpec = make_spec(hostname=hostname, ssh_keys=(key,), user_data=user_data)
    files = read_back(config_drive.iso(spec))
    assert files["user-data"] == user_data.encode()
    assert yaml.safe_load(files["meta-data"]) == {
        "instance-id": spec.uuid,
        "local-hostname": hostname,
        "public-keys": [key],
    }


def test_a_long_key_stays_on_one_line() -> None:
    key = "ssh-rsa " + "A" * 700 + " somebody with a long comment"
    text = config_drive.files(make_spec(ssh_keys=(key,)))["meta-data"].decode()
    assert f"- {key}" in text.splitlines()

"""What the guest is made of, as far as it can be seen without building it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from drover.lab import guest_image

SOURCES = Path(guest_image.__file__).parent / "guest"

BLOCK = """\
version: 2
ethernets:
  eth0:
    match:
      macaddress: "52:54:00:01:00:0A"   # quoted, upper case
    set-name: eth0
    addresses: [10.0.2.15/24]
    routes:
      - to: default
        via: 10.0.2.2
    nameservers:
      addresses:
        - 10.0.2.3
        - 1.1.1.1
    mtu: 1400
  eth1:
    match: {macaddress: "52:54:00:01:00:0b"}
    dhcp4: true
"""
JSON = (
    '{"version":2,"ethernets":{"eth0":{"match":{"macaddress":"52:54:00:01:00:0a"},"addresses":["10.0.2.15/24"],'
    '"gateway4":"10.0.2.2","mtu":1400,"nameservers":{"addresses":["10.0.2.3","1.1.1.1"]}},'
    '"eth1":{"match":{"macaddress":"52:54:00:01:00:0b"},"dhcp4":true}}}'
)


@pytest.mark.parametrize("text", [BLOCK, JSON], ids=["yaml", "json"])
def test_the_guest_reads_network_configurations_as_written_by_people_and_by_programs(text: str) -> None:
    script = SOURCES / "network-config.awk"
    read = subprocess.run(["awk", "-f", script], input=text, capture_output=True, text=True, check=True).stdout
    assert read.splitlines() == [
        "52:54:00:01:00:0a 10.0.2.15/24 10.0.2.2 1400 10.0.2.3,1.1.1.1",
        "52:54:00:01:00:0b - - - -",
    ]


@pytest.mark.parametrize("name", ["rcS", "shutdown", "udhcpc", "power-button"])
def test_the_guests_scripts_are_shell(name: str) -> None:
    subprocess.run(["sh", "-n", SOURCES / name], check=True)


def test_the_digest_covers_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "guest"
    shutil.copytree(SOURCES, copy)
    monkeypatch.setattr(guest_image, "_SOURCES", copy)
    before = guest_image.sources_digest()
    assert before == guest_image.sources_digest()
    (copy / "rcS").write_text((copy / "rcS").read_text() + "\n")
    changed = guest_image.sources_digest()
    assert changed != before
    (copy / "rcS").rename(copy / "rcZ")
    assert guest_image.sources_digest() not in {before, changed}


def test_a_built_image_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROVER_CACHE", str(tmp_path))
    kept = tmp_path / f"guest-{guest_image.sources_digest()[:16]}.qcow2"
    kept.write_bytes(b"image")
    said: list[str] = []
    assert guest_image.build(said.append) == kept
    assert said == []

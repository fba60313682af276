from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from drover.objects.catalog import ImageStatus, Keypair
from tests.functional.cli.conftest import Drover, Flaky
from tests.functional.cli.sample import DEBIAN, LAN, SMALL
from tests.functional.cli.scripted import Scripted

FLAVOR = ("flavor", "create", "tiny", "--vcpus", "1", "--memory", "64")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvJ me@here"


def test_flavor_create_list_delete(drover: Drover, scripted: Scripted) -> None:
    made = json.loads(drover(*FLAVOR, "--extra-spec", "virt_type=qemu", "--format", "json").out)
    assert (made["vcpus"], made["memory_mib"], made["disk_gib"]) == (1, 64, 0)
    assert made["extra_specs"] == {"virt_type": "qemu"}
    assert "tiny" in drover("flavor", "list").out
    assert drover("flavor", "delete", "tiny").out == "flavor tiny deleted\n"
    assert "tiny" not in drover("flavor", "list").out


@pytest.mark.parametrize("failing", ["unsent", "unanswered"])
def test_a_repeated_flavor_create_makes_one(drover: Drover, scripted: Scripted, bus: Flaky, failing: str) -> None:
    getattr(bus, failing).append("flavor_create")
    result = drover(*FLAVOR, "--format", "json")
    assert result.status == 0
    assert [it.id for it in scripted.flavors if it.name == "tiny"] == [json.loads(result.out)["id"]]


def test_a_name_that_another_took_stays_refused_on_repeat(drover: Drover, bus: Flaky) -> None:
    bus.unsent.append("flavor_create")
    result = drover("flavor", "create", "small", "--vcpus", "1", "--memory", "64")
    assert result.status == 4
    assert result.err == "error: NameTaken: another flavor is named 'small'\n"


def test_a_repeated_delete_whose_answer_was_lost_is_done(drover: Drover, scripted: Scripted, bus: Flaky) -> None:
    bus.unanswered.append("flavor_delete")
    assert drover("flavor", "delete", "small").status == 0
    assert scripted.flavors == []
    assert len(scripted.asked_of("flavor_delete")) == 2


def test_network_create(drover: Drover, scripted: Scripted) -> None:
    options = ("--cidr", "10.30.0.0/24", "--kind", "bridge", "--bridge", "br0", "--dns", "9.9.9.9", "--dns", "1.1.1.1")
    assert drover("network", "create", "dmz", *options).status == 0
    made = scripted.networks[-1]
    assert (made.name, made.kind, made.cidr, made.bridge) == ("dmz", "bridge", "10.30.0.0/24", "br0")
    assert made.dns == ("9.9.9.9", "1.1.1.1")
    assert "10.20.0.10-10.20.0.250" in drover("network", "list").out


def test_a_network_in_use_is_a_conflict(drover: Drover) -> None:
    result = drover("network", "delete", "lan")
    assert (result.status, result.err) == (4, "error: InUse: network 'lan' is used by web-1\n")


def test_keypair_create_reads_a_file(drover: Drover, scripted: Scripted, tmp_path: Path, bus: Flaky) -> None:
    file = tmp_path / "id.pub"
    file.write_text(KEY + "\n")
    bus.unanswered.append("keypair_create")
    assert drover("keypair", "create", "me", "--public-key", str(file)).status == 0
    assert [key.public_key for key in scripted.keypairs] == [KEY]
    assert "SHA256:abc" in drover("keypair", "list").out
    assert drover("keypair", "delete", "you").status == 3


def test_lists_are_filtered_and_paged(drover: Drover, scripted: Scripted) -> None:
    scripted.flavors = [replace(SMALL, name=f"f{n}") for n in range(3)]
    scripted.networks = [replace(LAN, name=f"n{n}") for n in range(3)]
    scripted.keypairs = [Keypair(name=f"k{n}", public_key=KEY, fingerprint="SHA256:abc") for n in range(3)]
    scripted.images = [replace(DEBIAN, id=f"i{n}", name="same") for n in range(3)]
    for kind, mark, begin in (
        ("flavor", "name", "f"),
        ("network", "name", "n"),
        ("keypair", "name", "k"),
        ("image", "id", ""),
    ):
        page = drover(kind, "list", "--limit", "2", "--name", begin, "--format", "json")
        first, second = (row[mark] for row in json.loads(page.out))
        assert page.err == f"warning: there are more: --marker {second}, or --all\n"
        last = drover(kind, "list", "--limit", "2", "--marker", second, "--format", "json")
        everything = drover(kind, "list", "--limit", "2", "--all", "--format", "json")
        assert [first, second, *(row[mark] for row in json.loads(last.out))] == [
            row[mark] for row in json.loads(everything.out)
        ]
        assert (last.err, everything.err) == ("", "")
        assert json.loads(drover(kind, "list", "--name", "z", "--format", "json").out) == []
    assert drover("image", "list", "--status", "active").status == 0
    assert scripted.asked_of("image_list")[-1]["query"].status is ImageStatus.ACTIVE


def test_image_by_url(drover: Drover, scripted: Scripted) -> None:
    result = drover("image", "create", "deb", "--url", "http://images.example/deb.qcow2", "--sha256", "AB" * 32)
    assert result.status == 0
    made = scripted.images[-1]
    assert (made.url, made.sha256, made.format) == ("http://images.example/deb.qcow2", "ab" * 32, "qcow2")


@pytest.mark.parametrize("options", [(), ("--file", "x", "--url", "http://a.example/")])
def test_image_needs_one_source(drover: Drover, options: tuple[str, ...]) -> None:
    result = drover("image", "create", "deb", *options)
    assert (result.status, result.err) == (2, "error: BadInput: one of --file and --url is needed\n")


def test_an_image_file_that_is_not_there(drover: Drover, scripted: Scripted) -> None:
    result = drover("image", "create", "deb", "--file", "/nowhere/deb.qcow2")
    assert result.status == 2
    assert "cannot read /nowhere/deb.qcow2" in result.err
    assert len(scripted.images) == 1


def test_a_wrong_sha256_is_seen_before_anything_is_sent(drover: Drover, scripted: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(b"\0" * 512)
    result = drover("image", "create", "deb", "--file", str(file), "--sha256", "00" * 32)
    assert result.status == 2
    assert result.err.startswith("error: ImageChecksumMismatch: ")
    assert len(scripted.images) == 1


def test_image_show_and_delete(drover: Drover) -> None:
    assert "18900000 bytes" in drover("image", "show", "debian-12").out
    assert drover("image", "delete", "debian-12").out == "image debian-12 deleted\n"
    assert drover("image", "show", "nope").status == 3

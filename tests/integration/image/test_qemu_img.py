"""Format safety against images that QEMU's own tool makes, and sees as we do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from drover import errors
from drover.image_format import inspect
from drover.objects.catalog import ImageFormat
from drover.units import GIB, MIB
from tests import needs

QCOW2, RAW = ImageFormat.QCOW2, ImageFormat.RAW


@pytest.fixture(autouse=True)
def qemu_img_is_here() -> None:
    needs.require("qemu-img")


def make(path: Path, kind: str, size: str = "64M", *options: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *options, str(path), size], check=True, timeout=60)
    return path


def make_encrypted(path: Path, cipher: str) -> Path:
    """QEMU makes LUKS as strong as the CPU time of a trial allows, and fails where a quick one shows none: 7 times of 30."""
    secret = ("--object", "secret,id=s,data=x", "-o", f"encrypt.format={cipher},encrypt.key-secret=s")
    command = ["qemu-img", "create", "-q", "-f", "qcow2", *secret, str(path), "64M"]
    for _ in range(20):
        made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if "accurate CPU usage" not in made.stderr:
            break
    assert made.returncode == 0, made.stderr
    return path


def virtual_size(path: Path) -> int:
    info = subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True, capture_output=True, timeout=60)
    return int(json.loads(info.stdout)["virtual-size"])


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-o", "compat=0.10"),
        ("-o", "compression_type=zstd"),
        ("-o", "cluster_size=2M"),
        ("-o", "cluster_size=512"),
        ("-o", "preallocation=metadata"),
        ("-o", "lazy_refcounts=on"),
    ],
    ids=lambda options: " ".join(options),
)
def test_honest_qcow2_images_pass_with_the_size_that_qemu_sees(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = make(tmp_path / "a.qcow2", "qcow2", "64M", *options)
    assert inspect(path, QCOW2, image="a", limit_gib=1).virtual_size_bytes == virtual_size(path) == 64 * MIB


def test_honest_raw_images_pass(tmp_path: Path) -> None:
    path = make(tmp_path / "a.raw", "raw")
    assert inspect(path, RAW, image="a", limit_gib=1).virtual_size_bytes == 64 * MIB


def test_a_backing_file_is_refused(tmp_path: Path) -> None:
    base = make(tmp_path / "base.qcow2", "qcow2")
    path = make(tmp_path / "a.qcow2", "qcow2", "64M", "-b", str(base), "-F", "qcow2")
    with pytest.raises(errors.ImageUnsafe, match="backing file"):
        inspect(path, QCOW2, image="a", limit_gib=1)


def test_a_data_file_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", "qcow2", "64M", "-o", f"data_file={tmp_path}/secret,data_file_raw=on")
    with pytest.raises(errors.ImageUnsafe, match="data_file"):
        inspect(path, QCOW2, image="a", limit_gib=1)


@pytest.mark.parametrize("cipher", ["aes", "luks,encrypt.iter-time=10"], ids=["aes", "luks"])
def test_an_encrypted_image_is_refused(tmp_path: Path, cipher: str) -> None:
    path = make_encrypted(tmp_path / "a.qcow2", cipher)
    with pytest.raises(errors.ImageUnsafe, match="encrypted"):
        inspect(path, QCOW2, image="a", limit_gib=1)


def test_a_disk_that_would_grow_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.qcow2", "qcow2", "8T")
    assert path.stat().st_size < MIB
    with pytest.raises(errors.ImageTooLarge, match="8192 GiB is over 100 GiB"):
        inspect(path, QCOW2, image="a", limit_gib=100)
    assert inspect(path, QCOW2, image="a", limit_gib=8192).virtual_size_bytes == 8192 * GIB


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vpc", "vhdx", "qed", "qcow2"])
@pytest.mark.parametrize("declared", ImageFormat)
def test_other_formats_are_refused_under_any_name(tmp_path: Path, kind: str, declared: ImageFormat) -> None:
    path = make(tmp_path / "a", kind)
    if kind == declared.value:
        return
    with pytest.raises(errors.InvalidImage):
        inspect(path, declared, image="a", limit_gib=1)


def test_a_raw_image_under_the_name_of_qcow2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidImage, match="the content is raw"):
        inspect(make(tmp_path / "a", "raw"), QCOW2, image="a", limit_gib=1)


def test_a_header_that_a_guest_wrote_into_its_own_raw_disk_is_refused(tmp_path: Path) -> None:
    """The attack of CVE-2024-32498: a snapshot of such a disk, taken as an image, would open the host's file."""
    secret = make(tmp_path / "secret", "raw")
    trojan = make(tmp_path / "header", "qcow2", "64M", "-b", str(secret), "-F", "raw")
    disk = make(tmp_path / "disk", "raw")
    with disk.open("r+b") as file:
        file.write(trojan.read_bytes())
    with pytest.raises(errors.InvalidImage, match="declared raw, but the content is qcow2"):
        inspect(disk, RAW, image="a", limit_gib=1)

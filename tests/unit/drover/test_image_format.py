"""Format safety against headers written by hand; qemu-img's own files are in tests/integration/image."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drover import errors
from drover.image_format import ImageFacts, inspect
from drover.objects.catalog import ImageFormat
from drover.units import GIB, MIB

QCOW2, RAW = ImageFormat.QCOW2, ImageFormat.RAW


def qcow2(
    *,
    version: int = 3,
    backing: int = 0,
    cluster_bits: int = 16,
    virtual: int = 10 * MIB,
    crypt: int = 0,
    features: int = 0,
) -> bytes:
    """The header of a qcow2 image; only what a parser may believe."""
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 20 if backing else 0, cluster_bits, virtual, crypt)
    head = head.ljust(72, b"\0") + struct.pack(">Q", features) + bytes(16) + struct.pack(">II", 4, 104)
    return head.ljust(64 * 1024, b"\0")


def judge(tmp_path: Path, content: bytes, declared: ImageFormat, limit_gib: int = 100) -> ImageFacts:
    path = tmp_path / "image"
    path.write_bytes(content)
    return inspect(path, declared, image="img", limit_gib=limit_gib)


def test_a_plain_qcow2_passes_with_its_virtual_size(tmp_path: Path) -> None:
    facts = judge(tmp_path, qcow2(virtual=7 * GIB), QCOW2)
    assert facts == ImageFacts(format=QCOW2, size_bytes=64 * 1024, virtual_size_bytes=7 * GIB)


def test_version_2_passes(tmp_path: Path) -> None:
    assert judge(tmp_path, qcow2(version=2), QCOW2).virtual_size_bytes == 10 * MIB


@pytest.mark.parametrize("size", [512, 513, 40 * 1024, 2 * MIB])
def test_content_without_a_signature_is_raw(tmp_path: Path, size: int) -> None:
    assert judge(tmp_path, b"\x7fDRV" * (size // 4) + b"x" * (size % 4), RAW).virtual_size_bytes == size


def test_a_boot_sector_without_partitions_is_raw(tmp_path: Path) -> None:
    sector = b"\xfa\xf4".ljust(510, b"\x90") + b"\x55\xaa"
    assert judge(tmp_path, sector, RAW).virtual_size_bytes == 512


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (qcow2(backing=0x200), "backing file"),
        (qcow2(features=1 << 2), "data_file"),
        (qcow2(crypt=1), "encrypted"),
        (qcow2(crypt=2), "encrypted"),
        (qcow2(features=1 << 40), "features"),
        (qcow2(version=4), "version"),
        (qcow2(version=1), "version"),
    ],
)
def test_dangerous_headers_are_unsafe(tmp_path: Path, header: bytes, words: str) -> None:
    with pytest.raises(errors.ImageUnsafe, match=words):
        judge(tmp_path, header, QCOW2)


@pytest.mark.parametrize("header", [qcow2(cluster_bits=8), qcow2(cluster_bits=63), qcow2(virtual=0)])
def test_damaged_headers_are_invalid(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(errors.InvalidImage):
        judge(tmp_path, header, QCOW2)


@pytest.mark.parametrize(
    ("content", "declared"),
    [
        (qcow2(), RAW),  # a guest wrote it into its own disk: QEMU must never be let near it
        (qcow2(backing=0x200), RAW),
        (b"\0" * 4096, QCOW2),
        (b"KDMV\1\0\0\0".ljust(4096, b"\0"), RAW),
        (b"QED\0".ljust(4096, b"\0"), RAW),
        (b"LUKS\xba\xbe\0\1".ljust(4096, b"\0"), RAW),
        (b"conectix".ljust(4096, b"\0"), RAW),
        (b"vhdxfile".ljust(4096, b"\0"), RAW),
        (bytes(32 * 1024) + b"\1CD001\1".ljust(4096, b"\0"), RAW),
    ],
)
def test_a_lying_declaration_is_refused(tmp_path: Path, content: bytes, declared: ImageFormat) -> None:
    with pytest.raises(errors.InvalidImage, match=r"declared|formats"):
        judge(tmp_path, content, declared)


@pytest.mark.parametrize("declared", ImageFormat)
@pytest.mark.parametrize("content", [b"", b"x", qcow2()[:511]])
def test_less_than_a_sector_is_no_disk(tmp_path: Path, content: bytes, declared: ImageFormat) -> None:
    with pytest.raises(errors.InvalidImage, match="no disk"):
        judge(tmp_path, content, declared)


def test_two_formats_at_once_are_refused(tmp_path: Path) -> None:
    both = bytearray(qcow2())
    both[32 * 1024 : 32 * 1024 + 7] = b"\1CD001\1"
    with pytest.raises(errors.InvalidImage, match="Multiple formats"):
        judge(tmp_path, bytes(both), QCOW2)


@pytest.mark.parametrize("virtual", [100 * GIB + 1, 2**63, 2**64 - 1])
def test_a_virtual_disk_over_the_limit_is_refused_with_the_numbers(tmp_path: Path, virtual: int) -> None:
    with pytest.raises(errors.ImageTooLarge) as caught:
        judge(tmp_path, qcow2(virtual=virtual), QCOW2)
    assert caught.value.kwargs["limit_gib"] == 100
    assert caught.value.kwargs["virtual_size_gib"] > 100


def test_the_limit_itself_passes(tmp_path: Path) -> None:
    assert judge(tmp_path, qcow2(virtual=100 * GIB), QCOW2).virtual_size_bytes == 100 * GIB


MAGICS = [b"QFI\xfb", b"KDMV", b"QED\0", b"LUKS\xba\xbe", b"conectix", b"vhdxfile", b"<<< Oracle VM", b"# Disk Desc"]
hostile = st.one_of(
    st.binary(min_size=512, max_size=4096),
    st.builds(lambda magic, rest: (magic + rest).ljust(512, b"\0"), st.sampled_from(MAGICS), st.binary(max_size=2048)),
    st.builds(
        lambda at, junk: qcow2()[:at] + junk + qcow2()[at + len(junk) : 4096],
        st.integers(4, 110),
        st.binary(min_size=1, max_size=16),
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=hostile, declared=st.sampled_from(list(ImageFormat)))
def test_hostile_bytes_are_judged_or_refused_and_never_trusted(
    tmp_path: Path, content: bytes, declared: ImageFormat
) -> None:
    try:
        facts = judge(tmp_path, content, declared)
    except errors.InvalidImage:
        return
    # Found here by hand, not by the code under test.
    if declared is RAW:
        assert not any(content.startswith(magic) for magic in MAGICS[:6])
        assert facts.virtual_size_bytes == len(content)
    else:
        version, backing = struct.unpack(">4xIQ", content[:16])
        assert version in (2, 3)
        assert backing == 0
        assert content[32:36] == b"\0\0\0\0"
        assert 0 < facts.virtual_size_bytes <= 100 * GIB
        if version == 3:
            assert not int.from_bytes(content[72:80]) & ~0b1011

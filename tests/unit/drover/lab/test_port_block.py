"""Every lab has ports of its own."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from drover import errors
from drover.lab import port_block


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROVER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the claims can see: labs of this machine are not these tests' business."""
    monkeypatch.setattr(port_block, "is_listening", lambda *_: False)


def rivals(tmp_path: Path) -> Iterator[Path]:
    """Directories that all begin with the same block."""
    wanted = None
    for number in count():
        directory = tmp_path / f"lab{number}"
        seed = zlib.crc32(str(directory).encode()) % 48
        wanted = seed if wanted is None else wanted
        if seed == wanted:
            directory.mkdir()
            yield directory


@pytest.mark.usefixtures("nobody_listens")
def test_labs_that_are_made_before_any_of_them_listens_have_different_blocks(tmp_path: Path) -> None:
    directories = rivals(tmp_path)
    first, second = next(directories), next(directories)
    assert port_block.claim(first) != port_block.claim(second)
    assert port_block.claim(first) == port_block.claim(first)


@pytest.mark.usefixtures("nobody_listens")
def test_a_lab_that_is_gone_claims_nothing(tmp_path: Path) -> None:
    directories = rivals(tmp_path)
    gone, next_one = next(directories), next(directories)
    block = port_block.claim(gone)
    gone.rmdir()
    assert port_block.claim(next_one) == block


@pytest.mark.usefixtures("nobody_listens")
def test_there_is_an_end_of_blocks(tmp_path: Path) -> None:
    directories = [tmp_path / f"lab{number}" for number in range(49)]
    for directory in directories:
        directory.mkdir()
    assert len({port_block.claim(directory) for directory in directories[:48]}) == 48
    with pytest.raises(errors.LabFailed, match="in use"):
        port_block.claim(directories[48])


def test_a_block_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    directory = next(rivals(tmp_path))
    block = port_block.claim(directory)
    with closing(socket.create_server(("127.0.0.1", block + 3))):
        assert port_block.claim(directory) != block

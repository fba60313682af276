"""Files of guests by instance and epoch."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from agent.virt.libvirt.folder import Folders, failed, write_whole
from drover import errors

UUID = "6f6c1f0e-3c6b-4a53-9d53-0a5a4c1d2e3f"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "instances")
    made.make()
    return made


def test_a_folder_lets_qemu_through_but_not_look_around(folders: Folders) -> None:
    folder = folders.of(UUID, 1)
    folder.make()
    folder.make()
    for path in (folder.path, folder.path.parent, folders.root):
        assert path.stat().st_mode & 0o777 == 0o711


def test_epochs_are_apart(folders: Folders) -> None:
    for epoch in (10, 2, 3):
        folder = folders.of(UUID, epoch)
        folder.make()
        write_whole(folder.disk, b"disk")
    assert [folder.path.name for folder in folders.upto(UUID, 3)] == ["2", "3"]
    for folder in folders.upto(UUID, 3):
        folders.remove(folder)
        folders.remove(folder)
    assert folders.upto(UUID, 9) == []
    assert folders.of(UUID, 10).disk.read_bytes() == b"disk"
    folders.remove(folders.of(UUID, 10))
    assert list(folders.root.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "/etc", UUID.upper(), UUID.replace("-", ""), "x" * 36])
def test_only_a_uuid_names_a_folder(folders: Folders, name: str) -> None:
    with pytest.raises(errors.BadInput):
        folders.of(name, 1)
    with pytest.raises(errors.BadInput):
        folders.upto(name, 1)


def test_a_file_is_written_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "config.iso"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.iso"]
    with pytest.raises(errors.DriverError):
        write_whole(tmp_path / "nowhere" / "file", b"")


def test_a_full_disk_has_its_own_error(tmp_path: Path) -> None:
    assert isinstance(failed(OSError(errno.ENOSPC, "full"), "disk", tmp_path), errors.DiskFull)
    assert isinstance(failed(OSError(errno.EDQUOT, "quota"), "disk", tmp_path), errors.DiskFull)
    assert not isinstance(failed(OSError(errno.EIO, "broken"), "disk", tmp_path), errors.DiskFull)

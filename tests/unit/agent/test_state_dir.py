from __future__ import annotations

from pathlib import Path

import pytest

from agent.state_dir import FileStateDir, MemoryStateDir, StateDir
from drover import errors


@pytest.fixture(params=["files", "memory"])
def state_dir(request: pytest.FixtureRequest, tmp_path: Path) -> StateDir:
    return FileStateDir(tmp_path / "state") if request.param == "files" else MemoryStateDir()


def test_read_write_append(state_dir: StateDir) -> None:
    state_dir.lock()
    assert state_dir.read("name") is None
    state_dir.write("name", b"one")
    state_dir.write("name", b"two")
    assert state_dir.read("name") == b"two"
    for text in (b"a", b"b"):
        file = state_dir.append_to("log")
        file.append(text)
        file.sync()
        file.close()
    assert state_dir.read("log") == b"ab"


def test_one_agent_a_directory(tmp_path: Path) -> None:
    first, second = FileStateDir(tmp_path / "state"), FileStateDir(tmp_path / "state")
    first.lock()
    with pytest.raises(errors.StateDirLocked, match="in use by another agent"):
        second.lock()
    first.unlock()
    second.lock()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.InvalidConfig, match="state_dir"):
        FileStateDir(tmp_path / "file" / "state").lock()


def test_nobody_else_may_read(tmp_path: Path) -> None:
    state_dir = FileStateDir(tmp_path / "state")
    state_dir.lock()
    state_dir.write("name", b"")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state" / "name").stat().st_mode & 0o077 == 0


def test_memory_crash_loses_what_was_not_synced() -> None:
    state_dir = MemoryStateDir()
    state_dir.lock()
    with pytest.raises(errors.StateDirLocked):
        state_dir.lock()
    file = state_dir.append_to("log")
    file.append(b"safe")
    file.sync()
    file.append(b"lost")
    state_dir.kill()
    assert state_dir.read("log") == b"safelost"
    state_dir.crash(keep=lambda length: length // 2)
    assert state_dir.read("log") == b"safelo"
    state_dir.lock()

"""What is left of a lab whose test failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import logs_kept


def _lab(directory: Path) -> Path:
    (directory / "log").mkdir(parents=True)
    (directory / "rabbitmq/log").mkdir(parents=True)
    (directory / "log/conductor.log").write_text("told to stop\n")
    (directory / "rabbitmq/log/rabbit@lab.log").write_text("closing\n")
    (directory / "disk.raw").write_text("large")
    return directory


def test_logs_of_a_failed_block_are_kept_and_named(tmp_path: Path) -> None:
    lab, kept = _lab(tmp_path / "lab"), tmp_path / "kept"
    with pytest.raises(AssertionError) as caught, logs_kept(lab, kept):
        raise AssertionError("stuck")
    assert {str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*") if path.is_file()} == {
        "log/conductor.log": "told to stop\n",
        "rabbitmq/log/rabbit@lab.log": "closing\n",
    }
    assert caught.value.__notes__ == [f"the logs of its lab: {kept}"]


def test_nothing_is_kept_of_a_block_that_ended_well(tmp_path: Path) -> None:
    with logs_kept(_lab(tmp_path / "lab"), tmp_path / "kept"):
        pass
    assert not (tmp_path / "kept").exists()

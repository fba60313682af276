"""Generated files are those of the code; run tools/genconfig.py and tools/gendocs.py after a change."""

from __future__ import annotations

import configparser
import dataclasses
from pathlib import Path

import pytest

from drover.conf import load
from drover.conf.registry import all_groups
from tools import genconfig, gendocs
from tools.generated import Page, settle

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/drover.conf.sample", genconfig.sample()),
        ("docs/configuration.md", gendocs.configuration()),
        ("docs/states.md", gendocs.states()),
        ("docs/errors.md", gendocs.error_codes()),
    ],
    ids=lambda value: value if "\n" not in value else "",
)
def test_generated_files_are_fresh(path: str, text: str) -> None:
    assert (ROOT / path).read_text() == text


def test_check_tells_a_stale_file_and_leaves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.md"
    file.write_text("old")
    page = Page(file, "new")
    assert settle([page], check=True) == 1
    assert "stale" in capsys.readouterr().out
    assert file.read_text() == "old"
    assert settle([page], check=False) == 0
    assert settle([page], check=True) == 0


def test_the_sample_is_a_valid_configuration_with_every_option_at_its_default(tmp_path: Path) -> None:
    lines = genconfig.sample().splitlines()
    file = tmp_path / "drover.conf"
    file.write_text("\n".join(line.removeprefix("#") if line[1:2].isalpha() else line for line in lines))
    parser = configparser.RawConfigParser()
    parser.read(file)
    configuration = load([str(file)], known=all_groups())
    for group in all_groups():
        assert set(parser[group.GROUP]) == {field.name for field in dataclasses.fields(group)}
        assert configuration.get(group) == group()


def test_the_deployment_units_end_only_the_agent_itself() -> None:
    unit = (ROOT / "etc" / "systemd" / "drover-agent.service").read_text()
    assert "KillMode=process" in unit
    for name in ("agent", "conductor", "scheduler"):
        unit = (ROOT / "etc" / "systemd" / f"drover-{name}.service").read_text()
        assert "Restart=always" in unit
        assert "LimitNOFILE=" in unit


def test_units_do_not_take_each_others_directories() -> None:
    # systemd gives a StateDirectory, with all that is in it, to the unit's user: of two units the last to start has it.
    for name in ("conductor", "scheduler"):
        unit = (ROOT / "etc" / "systemd" / f"drover-{name}.service").read_text()
        assert "User=drover" in unit
        given = [line.partition("=")[2].split() for line in unit.splitlines() if line.startswith("StateDirectory=")]
        assert all("/" in directory for directories in given for directory in directories)

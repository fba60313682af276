"""Settings: one declaration, read from files, and refused with the reason when it does not fit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from drover import errors
from drover.conf.bus import BusSettings
from drover.conf.log import LogSettings
from drover.conf.registry import all_groups
from drover.conf.settings import load, options_of, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    GROUP: ClassVar[str] = "sample"

    count: int = setting(3, "How many.", minimum=1, maximum=9)
    ratio: float = setting(1.5, "How much.", minimum=0.5)
    loud: bool = setting(False, "Whether.")
    names: tuple[str, ...] = setting(("a", "b"), "Who.")
    mode: str = setting("fast", "How.", choices=("fast", "slow"))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DROVER_CONFIG", raising=False)


def _file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "drover.conf"
    path.write_text(text)
    return str(path)


def test_defaults_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathlib.Path.is_file", lambda self: False)
    assert load().get(Sample) == Sample()


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    name = _file(tmp_path, "[sample]\ncount = 7\nloud = yes\nnames = x, y\nmode = slow\n")
    assert load([name], known=[Sample]).get(Sample) == Sample(count=7, loud=True, names=("x", "y"), mode="slow")


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROVER_CONFIG", _file(tmp_path, "[sample]\ncount = 2\n"))
    configuration = load()
    assert configuration.get(Sample).count == 2
    assert configuration.files == (str(tmp_path / "drover.conf"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sample]\ncount = many\n", ["sample", "count"]),
        ("[sample]\ncount = 10\n", ["sample", "count"]),
        ("[sample]\ncount = 0\n", ["sample", "count"]),
        ("[sample]\nratio = 0.1\n", ["sample", "ratio"]),
        ("[sample]\nloud = perhaps\n", ["sample", "loud"]),
        ("[sample]\nmode = medium\n", ["sample", "mode"]),
        ("[sample]\ncuont = 3\n", ["cuont", "sample"]),
        ("[smaple]\ncount = 3\n", ["smaple"]),
        ("[DEFAULT]\ncount = 3\n", ["DEFAULT"]),
        ("count without a section\n", []),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, text: str, words: list[str]) -> None:
    name = _file(tmp_path, text)
    with pytest.raises(errors.InvalidConfig) as caught:
        load([name], known=[Sample])
    assert all(word in str(caught.value) for word in words)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidConfig, match="absent"):
        load([str(tmp_path / "absent.conf")])


@pytest.mark.parametrize("group", all_groups(), ids=lambda group: group.GROUP)
def test_every_option_of_this_release_says_what_it_is(group: type) -> None:
    options = options_of(group)
    assert [option.name for option in options] == [field.name for field in dataclasses.fields(group)]
    for option in options:
        assert len(option.help or "") > 10
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        assert option.type(str(default) if not isinstance(default, list) else ",".join(default)) == default


def test_secrets_are_marked() -> None:
    secret = {option.name for option in options_of(BusSettings) if option.secret}
    assert secret == {"transport_url"}
    assert {BusSettings, LogSettings} <= set(all_groups())

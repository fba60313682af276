from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.functional.cli.conftest import Drover
from tests.functional.cli.scripted import Scripted

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LISTS = [
    ("instance", "list"),
    ("host", "list"),
    ("image", "list"),
    ("flavor", "list"),
    ("network", "list"),
    ("keypair", "list"),
    ("operation", "list"),
    ("service", "list"),
    ("alarm", "list"),
]
RECORDS = [
    ("why", "db-1"),
    ("trace", "web-1"),
    ("host", "show", "host-1"),
    ("instance", "recover", "web-1"),
    ("instance", "diagnostics", "web-1"),
    ("host", "fence", "host-3", "--attest", "its plug was pulled", "--dry-run"),
    ("doctor",),
    ("db", "purge", "--before", "30", "--dry-run"),
]
CREATE = ("instance", "create", "db", "--flavor", "small", "--image", "debian-12", "--network", "lan")


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_lists_are_arrays_as_data(drover: Drover, command: tuple[str, ...]) -> None:
    as_json = json.loads(drover(*command, "--format", "json").out)
    as_yaml = yaml.safe_load(drover("--format", "yaml", *command).out)
    assert isinstance(as_json, list)
    assert as_json == as_yaml


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_a_pipe_gets_every_column_uncut_and_no_colour(drover: Drover, command: tuple[str, ...]) -> None:
    out = drover(*command).out
    assert "\x1b" not in out
    assert "…" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("command", [*LISTS, *RECORDS], ids=" ".join)
def test_a_terminal_gets_lines_that_fit(terminal: Drover, command: tuple[str, ...], columns: int) -> None:
    shown = ANSI.sub("", terminal(*command, columns=columns).out)
    assert shown
    assert max(len(line) for line in shown.splitlines()) <= columns
    assert "…" not in shown


def test_the_wider_the_terminal_the_more_columns(terminal: Drover, drover: Drover) -> None:
    def titles(text: str) -> list[str]:
        return ANSI.sub("", text).splitlines()[0].split()

    narrow, wide = (titles(terminal("instance", "list", columns=columns).out) for columns in (60, 200))
    assert narrow == ["NAME", "STATUS", "POWER", "HOST", "ADDRESSES", "FLAVOR"]
    assert wide == titles(drover("instance", "list").out)


def test_a_trace_has_bars_where_there_is_room_for_them(terminal: Drover) -> None:
    narrow, wide = (ANSI.sub("", terminal("trace", "web-1", columns=columns).out) for columns in (60, 80))
    assert "▏" in wide
    assert re.sub("[▏█]+", "", wide).split() == narrow.split()


def test_states_have_colours_on_a_terminal(terminal: Drover) -> None:
    assert "\x1b[32mactive" in terminal("instance", "list").out


def test_no_color_is_honoured(terminal: Drover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in terminal("instance", "list").out


def test_a_person_sees_the_progress(terminal: Drover, scripted: Scripted) -> None:
    result = terminal(*CREATE, "--count", "3", "--wait")
    assert result.status == 0
    assert "3/3" in ANSI.sub("", result.out)
    # One answer with each end, for the bar to move.
    assert [len(each["ids"]) for each in scripted.asked_of("operation_wait")] == [3, 2, 1]


def test_a_script_sees_none(drover: Drover) -> None:
    result = drover(*CREATE, "--count", "3", "--wait")
    assert (result.status, result.err) == (0, "")

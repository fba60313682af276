from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest

from drover.cli.output import Column, Printer, duration, moment


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0.000 s"),
        (0.0844, "0.084 s"),
        (12.34, "12.3 s"),
        (125.0, "2m 05s"),
        (3 * 3600 + 12 * 60, "3h 12m"),
        (2 * 86400 + 4 * 3600, "2d 04h"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_moments_are_utc_whatever_the_zone() -> None:
    at = datetime(2025, 11, 22, 15, 46, 3, tzinfo=timezone(timedelta(hours=2)))
    assert moment(at) == "2025-11-22 13:46:03Z"
    assert moment(at.astimezone(UTC)) == moment(at)
    assert moment(None) == ""


def test_cells_are_text_not_markup() -> None:
    out = io.StringIO()
    Printer("table", out).rows(["[red]x[/red] :smile:"], [Column("NAME", str)])
    assert out.getvalue() == "NAME\n[red]x[/red] :smile:\n"


def test_an_empty_list_is_its_header() -> None:
    out = io.StringIO()
    columns: list[Column[str]] = [Column("NAME", str), Column("ID", str)]
    Printer("table", out).rows([], columns)
    assert out.getvalue() == "NAME  ID\n"


def test_a_record_leaves_empty_fields_out() -> None:
    out = io.StringIO()
    Printer("table", out).record({}, [("name", "web"), ("host", ""), ("two lines", "a\nb")])
    assert out.getvalue() == "name       web\ntwo lines  a\n           b\n"


def test_long_values_are_whole_in_a_pipe() -> None:
    out = io.StringIO()
    Printer("table", out).rows(["x" * 5000], [Column("NAME", str)])
    assert out.getvalue() == f"NAME\n{'x' * 5000}\n"

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drover.cli.console import appended


def test_a_log_that_began_anew_is_printed_whole() -> None:
    assert appended("first boot, long ago", "second") == "second"


def test_a_window_that_moved_on_gives_what_is_new() -> None:
    assert appended("abcdef", "defghi") == "defghi"  # less in common than is looked for: rather twice than not
    log = "".join(f"line {n}\n" for n in range(1000))
    assert appended(log[:4096], log[500:5000]) == log[4096:5000]


@given(st.text(), st.text())
def test_what_grew_is_what_is_new(before: str, more: str) -> None:
    assert appended(before, before + more) == more

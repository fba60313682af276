from __future__ import annotations

import pytest

from drover import errors
from drover.cli.lab import argv_of


@pytest.mark.parametrize("words", [("ip", "addr"), ("--", "ip", "addr")])
def test_a_command_with_or_without_a_separator(words: tuple[str, ...]) -> None:
    assert list(argv_of(words)) == ["ip", "addr"]


def test_only_the_first_separator_is_ours() -> None:
    assert list(argv_of(("--", "sh", "--", "x"))) == ["sh", "--", "x"]


def test_a_separator_alone_is_no_command() -> None:
    with pytest.raises(errors.BadInput):
        argv_of(("--",))

"""CPU lists."""

from __future__ import annotations

import pytest

from drover.cpu_set import cpu_set


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", set()), ("3", {3}), ("0-3,^2", {0, 1, 3}), (" 8 , 4-5,^9", {4, 5, 8}), ("^1,0-2", {0, 2}), ("3-1", set())],
)
def test_a_cpu_set_is_read_as_nova_reads_it(text: str, cpus: set[int]) -> None:
    assert cpu_set(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "1-2-3", "^", "1;2", "99999", "\u0661"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no CPU"):
        cpu_set(text)

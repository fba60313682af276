from __future__ import annotations

import pytest

from scheduler.comparison import matches


@pytest.mark.parametrize(
    ("value", "wanted", "matching"),
    [
        ("ssd", "ssd", True),
        ("ssd", "hdd", False),
        ("two words", "two words", True),
        ("", "", True),
        ("8", "= 8", True),
        ("9", "= 8", True),
        ("7", "= 8", False),
        ("8.0", "== 8", True),
        ("8", "!= 8", False),
        ("10", ">= 9", True),
        ("10", "<= 9", False),
        ("many", ">= 9", False),
        ("10", ">= many", False),
        ("10", ">=", False),
        ("10", "s== 10", True),
        ("10", "s!= 10", False),
        ("10", "s< 9", True),
        ("10", "s<= 10", True),
        ("10", "s> 9", False),
        ("10", "s>= 10", True),
        ("10", "s==", False),
        ("avx avx2", "<in> avx2", True),
        ("avx", "<in> avx2", False),
        ("avx sse avx2", "<all-in> avx2 sse", True),
        ("avx sse", "<all-in> avx2 sse", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
        ("c", "<or>", False),
    ],
)
def test_operators(value: str, wanted: str, matching: bool) -> None:
    assert matches(value, wanted) is matching

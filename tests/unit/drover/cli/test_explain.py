from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drover.cli.explain import BAR, bar


def test_a_bar_stands_where_the_step_was() -> None:
    assert bar(0.0, 1.0, 2.0) == "█" * 10
    assert bar(1.0, 1.0, 2.0) == " " * 10 + "█" * 10
    assert bar(1.0, 0.001, 2.0) == " " * 10 + "▏"


seconds = st.floats(min_value=0, max_value=1e6)


@given(seconds, seconds, seconds)
def test_a_bar_is_always_seen_and_never_too_long(start_s: float, duration_s: float, rest_s: float) -> None:
    shown = bar(start_s, duration_s, start_s + duration_s + rest_s)
    assert shown.strip()
    assert len(shown) <= BAR

"""Depot tokens: leave for one purpose, one image, one span of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover import errors
from drover.depot import TokenPurpose, check_token, make_token

READ, WRITE = TokenPurpose.READ, TokenPurpose.WRITE
IMAGE = "6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f1"
OTHER = "6c0c3df2-64b0-4d32-8a4b-5a0de0a3d2f2"
NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
TOKEN = make_token("key", READ, IMAGE, NOW + timedelta(seconds=60))


@pytest.mark.parametrize("after_s", [0, 59.9])
def test_good_until_it_expires(after_s: float) -> None:
    check_token("key", TOKEN, READ, IMAGE, NOW + timedelta(seconds=after_s))


@pytest.mark.parametrize(
    ("key", "purpose", "image", "after_s", "reason"),
    [
        ("key", READ, IMAGE, 60, "expired"),
        ("key", WRITE, IMAGE, 0, "not made to write"),
        ("key", READ, OTHER, 0, "not made to read"),
        ("yek", READ, IMAGE, 0, "not made"),
    ],
)
def test_nothing_else(key: str, purpose: TokenPurpose, image: str, after_s: float, reason: str) -> None:
    with pytest.raises(errors.TokenRefused, match=reason):
        check_token(key, TOKEN, purpose, image, NOW + timedelta(seconds=after_s))


def test_a_later_expiry_does_not_fit_the_signature() -> None:
    expiry, signature = TOKEN.split(".")
    with pytest.raises(errors.TokenRefused):
        check_token("key", f"{int(expiry) + 1}.{signature}", READ, IMAGE, NOW)


@given(st.text(max_size=100))
def test_any_other_text_is_refused_with_the_typed_error(text: str) -> None:
    with pytest.raises(errors.TokenRefused):
        check_token("key", text, READ, IMAGE, NOW)


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_changed_character_passes(at: int, char: str) -> None:
    changed = TOKEN[:at] + char + TOKEN[at + 1 :]
    if changed != TOKEN:
        with pytest.raises(errors.TokenRefused):
            check_token("key", changed, READ, IMAGE, NOW)

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover import errors
from drover.objects.name import check_hostname, check_name, numbered

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(LABELS)
def test_every_label_is_a_host_name(name: str) -> None:
    assert check_hostname(name) == name


@given(st.text(max_size=80))
def test_nothing_but_labels_is_a_host_name(name: str) -> None:
    try:
        check_hostname(name)
    except errors.InvalidName:
        return
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name, re.ASCII)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "empty"),
        ("Web", "a-z"),
        ("-web", "either end"),
        ("web-", "either end"),
        ("a.b", "a-z"),
        ("web\n", "a-z"),
        ("w" * 64, "64 characters"),
        ("0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d", "form of an id"),
    ],
)
def test_bad_host_names_say_why(name: str, word: str) -> None:
    with pytest.raises(errors.InvalidName, match=word) as caught:
        check_hostname(name)
    assert caught.value.exit_code == 2


def test_one_instance_keeps_its_name_and_several_are_numbered() -> None:
    assert numbered("web", 1) == ("web",)
    assert numbered("web", 3) == ("web-1", "web-2", "web-3")


def test_a_number_must_fit_too() -> None:
    assert numbered("w" * 61, 9)[-1] == "w" * 61 + "-9"
    with pytest.raises(errors.InvalidName):
        numbered("w" * 61, 10)


@pytest.mark.parametrize("name", ["m1.small", "Debian 12 (bookworm)", "größe", "a" * 255])
def test_names_of_the_catalog_may_be_free(name: str) -> None:
    assert check_name(name, "flavor") == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\x00b", "a" * 256, "0b8ee2a5-3b1c-4d8e-9d5a-6c3f8e1b2a7d", "\u202eabc"]
)
def test_names_that_would_mislead_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidName, match="flavor name"):
        check_name(name, "flavor")

"""An orphan is gone when its host, which speaks, shows it no more; no moment that is written is compared with another."""

from __future__ import annotations

from conductor.unseen import Unseen

ORPHAN = ("h1", "stray")


def rounds(unseen: Unseen, seen_at: str, first_s: int, last_s: int, quiet: frozenset[str] = frozenset()) -> bool:
    """Look at the same row each second; whether it is gone at last."""
    for now in range(first_s, last_s):
        assert not unseen.gone({ORPHAN: seen_at}, quiet, now)
    return unseen.gone({ORPHAN: seen_at}, quiet, last_s) == {ORPHAN: seen_at}


def test_a_row_that_does_not_change_for_so_long_is_gone_and_not_before() -> None:
    unseen = Unseen(60.0)
    assert not rounds(unseen, "a", 0, 60)
    assert rounds(unseen, "a", 61, 61)


def test_any_change_counts_whatever_moment_it_tells() -> None:
    unseen = Unseen(60.0)
    rounds(unseen, "2026", 0, 60)
    assert not rounds(unseen, "2020", 61, 121)
    assert rounds(unseen, "2020", 122, 122)


def test_of_a_host_that_is_not_heard_nothing_is_learnt() -> None:
    unseen = Unseen(60.0)
    rounds(unseen, "a", 0, 60)
    assert not rounds(unseen, "a", 61, 200, frozenset({"h1"}))
    assert not rounds(unseen, "a", 201, 260)
    assert rounds(unseen, "a", 261, 261)


def test_a_row_that_went_and_came_is_another() -> None:
    unseen = Unseen(60.0)
    rounds(unseen, "a", 0, 60)
    assert not unseen.gone({}, frozenset(), 61)
    assert not rounds(unseen, "a", 62, 122)

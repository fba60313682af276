"""Silence is judged by one's own clock, and never when it is oneself who is cut off."""

from __future__ import annotations

from collections.abc import Sequence

from conductor.liveness import Judgement, Liveness
from drover.db.host import Pulse


def pulses(*marks: int, up: bool = True) -> list[Pulse]:
    return [Pulse(f"h{n}", 1, mark, up, None) for n, mark in enumerate(marks)]


def rounds(liveness: Liveness, rows: Sequence[Pulse], first_s: int, last_s: int, *, every_s: int = 2) -> Judgement:
    """Judge the same rows again and again; answers the last judgement."""
    for at_s in range(first_s, last_s, every_s):
        liveness.judge(rows, at_s, echo=True)
    return liveness.judge(rows, last_s, echo=True)


def test_a_host_is_silent_after_its_time_without_a_new_mark_and_not_before() -> None:
    liveness = Liveness(20.0, 0.2)
    assert not rounds(liveness, pulses(1), 0, 19).silent
    assert liveness.judge(pulses(1), 21.0, echo=True).fell == {"h0"}
    assert not liveness.judge(pulses(2), 22.0, echo=True).silent


def test_a_conductor_without_echo_judges_nobody_and_listens_anew() -> None:
    liveness = Liveness(20.0, 0.2)
    rounds(liveness, pulses(1), 0, 28)
    assert not liveness.judge(pulses(1), 30.0, echo=False).silent
    assert not rounds(liveness, pulses(1), 32, 49).silent
    assert liveness.judge(pulses(1), 51.0, echo=True).silent == {"h0"}


def test_after_an_outage_hosts_have_the_time_that_a_call_takes_to_run_out() -> None:
    liveness = Liveness(20.0, 0.2, recovery_s=15.0)
    rounds(liveness, pulses(1, 1), 0, 28)
    liveness.judge(pulses(1, 1), 30.0, echo=False)
    assert not rounds(liveness, pulses(1, 1), 31, 39).silent
    assert not rounds(liveness, pulses(1, 2), 40, 59).silent
    assert liveness.judge(pulses(1, 2), 61.0, echo=True).silent == {"h1"}, "it spoke, and no more"
    assert liveness.judge(pulses(1, 2), 66.0, echo=True).silent == {"h0", "h1"}


def test_who_starts_does_not_know_what_was_before_and_waits_as_after_an_outage() -> None:
    liveness = Liveness(20.0, 0.2, recovery_s=15.0)
    assert not rounds(liveness, pulses(1), 0, 34).silent
    assert liveness.judge(pulses(1), 36.0, echo=True).fell == {"h0"}


def test_an_outage_of_the_database_is_no_silence_however_short() -> None:
    liveness = Liveness(20.0, 0.2, recovery_s=15.0)
    rounds(liveness, pulses(1), 0, 50)
    liveness.outage()
    assert not rounds(liveness, pulses(1), 54, 88).silent
    assert liveness.judge(pulses(1), 90.0, echo=True).fell == {"h0"}


def test_who_stood_still_for_half_the_time_of_silence_has_not_listened() -> None:
    liveness = Liveness(20.0, 0.2, recovery_s=15.0)
    rounds(liveness, pulses(1), 0, 50)
    assert rounds(liveness, pulses(1), 52, 60).silent, "a pause of two seconds is none"
    assert not rounds(liveness, pulses(1), 71, 105).silent
    assert liveness.judge(pulses(1), 107.0, echo=True).silent == {"h0"}


def test_rounds_that_are_far_apart_are_not_late() -> None:
    liveness = Liveness(4.0, 0.2, round_s=3.0)
    assert not rounds(liveness, pulses(1), 0, 3, every_s=3).silent
    assert liveness.judge(pulses(1), 6.0, echo=True).fell == {"h0"}
    assert liveness.judge(pulses(2, up=False), 9.0, echo=True).rose == {"h0"}
    assert not liveness.judge(pulses(2), 14.1, echo=True).silent, "that one is"
    assert liveness.judge(pulses(3, up=False), 20.0, echo=True).rose == {"h0"}, "what was heard meanwhile was heard"


def test_a_host_that_was_down_rises_by_a_sync_and_not_by_an_old_row() -> None:
    liveness = Liveness(20.0, 0.2)
    assert not liveness.judge(pulses(7, up=False), 0.0, echo=True).rose
    assert not liveness.judge(pulses(7, up=False), 5.0, echo=True).rose
    assert liveness.judge(pulses(8, up=False), 6.0, echo=True).rose == {"h0"}


def test_hosts_that_fall_one_by_one_within_a_window_pull_the_brake_too() -> None:
    liveness = Liveness(20.0, 0.2)
    for at, marks in ((0.0, (1, 1, 1, 1)), (1.0, (1, 2, 2, 2)), (2.0, (1, 2, 3, 3)), (3.0, (1, 2, 3, 4))):
        liveness.judge(pulses(*marks), at, echo=True)
    rounds(liveness, pulses(1, 2, 3, 4), 4, 20)
    judged = [liveness.judge(pulses(1, 2, 3, 4 + n), 20.5 + n, echo=True) for n in range(4)]
    assert [sorted(j.fell) for j in judged] == [["h0"], ["h0", "h1"], [], []]
    assert [j.braked for j in judged] == [False, False, True, True]


def test_mass_silence_pulls_the_brake_and_a_few_silent_hosts_do_not() -> None:
    many = Liveness(20.0, 0.2)
    rounds(many, pulses(*[1] * 10), 0, 20)
    braked = many.judge(pulses(*[1] * 10), 21.0, echo=True)
    assert braked.braked
    assert not braked.fell
    few = Liveness(20.0, 0.2)
    rounds(few, pulses(*[1] * 10), 0, 20)
    judged = few.judge(pulses(1, 1, *[2] * 8), 21.0, echo=True)
    assert not judged.braked
    assert judged.fell == {"h0", "h1"}

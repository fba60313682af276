"""Silence is judged by one's own clock, and never when it is oneself who is cut off."""

from __future__ import annotations

from conductor.liveness import Liveness
from drover.db.host import Pulse


def pulses(*marks: int, up: bool = True) -> list[Pulse]:
    return [Pulse(f"h{n}", 1, mark, up, None) for n, mark in enumerate(marks)]


def test_a_host_is_silent_after_its_time_without_a_new_mark_and_not_before() -> None:
    liveness = Liveness(20.0, 0.2)
    assert not liveness.judge(pulses(1), 0.0, echo=True).silent
    assert not liveness.judge(pulses(1), 19.0, echo=True).silent
    assert liveness.judge(pulses(1), 21.0, echo=True).fell == {"h0"}
    assert not liveness.judge(pulses(2), 22.0, echo=True).silent


def test_a_conductor_without_echo_judges_nobody_and_listens_anew() -> None:
    liveness = Liveness(20.0, 0.2)
    liveness.judge(pulses(1), 0.0, echo=True)
    assert not liveness.judge(pulses(1), 30.0, echo=False).silent
    assert not liveness.judge(pulses(1), 45.0, echo=True).silent
    assert liveness.judge(pulses(1), 51.0, echo=True).silent == {"h0"}


def test_after_an_outage_hosts_have_the_time_that_a_call_takes_to_run_out() -> None:
    liveness = Liveness(20.0, 0.2, recovery_s=15.0)
    liveness.judge(pulses(1, 1), 0.0, echo=True)
    liveness.judge(pulses(1, 1), 30.0, echo=False)
    assert not liveness.judge(pulses(1, 1), 31.0, echo=True).silent
    assert not liveness.judge(pulses(1, 2), 40.0, echo=True).silent
    assert not liveness.judge(pulses(1, 2), 59.0, echo=True).silent
    assert liveness.judge(pulses(1, 2), 61.0, echo=True).silent == {"h1"}, "it spoke, and no more"
    assert liveness.judge(pulses(1, 2), 66.0, echo=True).silent == {"h0", "h1"}


def test_a_host_that_was_down_rises_by_a_sync_and_not_by_an_old_row() -> None:
    liveness = Liveness(20.0, 0.2)
    assert not liveness.judge(pulses(7, up=False), 0.0, echo=True).rose
    assert not liveness.judge(pulses(7, up=False), 5.0, echo=True).rose
    assert liveness.judge(pulses(8, up=False), 6.0, echo=True).rose == {"h0"}


def test_hosts_that_fall_one_by_one_within_a_window_pull_the_brake_too() -> None:
    liveness = Liveness(20.0, 0.2)
    for at, marks in ((0.0, (1, 1, 1, 1)), (1.0, (1, 2, 2, 2)), (2.0, (1, 2, 3, 3)), (3.0, (1, 2, 3, 4))):
        liveness.judge(pulses(*marks), at, echo=True)
    judged = [liveness.judge(pulses(1, 2, 3, 4 + n), 20.5 + n, echo=True) for n in range(4)]
    assert [sorted(j.fell) for j in judged] == [["h0"], ["h0", "h1"], [], []]
    assert [j.braked for j in judged] == [False, False, True, True]


def test_mass_silence_pulls_the_brake_and_a_few_silent_hosts_do_not() -> None:
    many = Liveness(20.0, 0.2)
    many.judge(pulses(*[1] * 10), 0.0, echo=True)
    braked = many.judge(pulses(*[1] * 10), 21.0, echo=True)
    assert braked.braked
    assert not braked.fell
    few = Liveness(20.0, 0.2)
    few.judge(pulses(*[1] * 10), 0.0, echo=True)
    judged = few.judge(pulses(1, 1, *[2] * 8), 21.0, echo=True)
    assert not judged.braked
    assert judged.fell == {"h0", "h1"}

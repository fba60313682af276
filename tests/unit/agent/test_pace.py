from __future__ import annotations

import threading

from agent.pace import Pace
from drover.conf.times import TimeSettings
from tests.unit.agent.manual import ManualClock, manual_runtime

TIMES = TimeSettings(sync_spacing_s=0.1, join_window_s=0.01)


def new_pace() -> tuple[Pace, ManualClock]:
    runtime, clock = manual_runtime()
    pace = Pace(runtime, TIMES)
    assert pace.wait()  # the first is due at once
    pace.succeeded(5.0)
    return pace, clock


def due_in(pace: Pace, clock: ManualClock) -> float:
    return round(pace._due() - clock.monotonic(), 6)


def test_idle_interval() -> None:
    pace, clock = new_pace()
    assert due_in(pace, clock) == 5.0


def test_news_keeps_the_spacing() -> None:
    pace, clock = new_pace()
    clock.pass_by(0.03)
    pace.urgent()
    assert due_in(pace, clock) == 0.07


def test_news_of_a_quiet_agent_waits_for_the_join_window_only() -> None:
    pace, clock = new_pace()
    clock.pass_by(2.0)
    pace.urgent()
    assert due_in(pace, clock) == 0.01


def test_what_is_not_urgent_waits_for_the_spacing() -> None:
    pace, clock = new_pace()
    clock.pass_by(2.0)
    pace.soon()
    assert due_in(pace, clock) == 0.1
    pace.urgent()
    assert due_in(pace, clock) == 0.01
    pace.soon()
    assert due_in(pace, clock) == 0.01


def test_a_sync_takes_the_news_with_it() -> None:
    pace, clock = new_pace()
    pace.urgent()
    clock.pass_by(0.1)
    assert pace.wait()
    pace.succeeded(5.0)
    assert due_in(pace, clock) == 5.0


def test_news_during_a_sync_is_not_lost() -> None:
    pace, clock = new_pace()
    clock.pass_by(5.0)
    assert pace.wait()
    pace.urgent()
    pace.succeeded(5.0)
    assert due_in(pace, clock) == 0.1


def test_failure_is_tried_again_after_its_delay_and_not_sooner() -> None:
    pace, clock = new_pace()
    clock.pass_by(5.0)
    assert pace.wait()
    pace.failed(0.8)
    assert due_in(pace, clock) == 0.8
    pace.urgent()
    assert due_in(pace, clock) == 0.8
    clock.pass_by(0.8)
    assert pace.wait()
    pace.succeeded(5.0)
    assert due_in(pace, clock) == 5.0


def test_close_wakes_the_waiter() -> None:
    pace, _ = new_pace()
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(pace.wait()))
    waiter.start()
    pace.close()
    waiter.join(30)
    assert ended == [False]

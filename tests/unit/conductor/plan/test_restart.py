"""Restarts: at once, then with back-off, bounded, and from the beginning after ten minutes of running."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.effect import Vm
from conductor.plan.restart import backoff_s, plan_restart
from drover.states import VmState
from tests.unit.conductor.plan.rows import T0, later
from tests.unit.conductor.plan.test_verb import instance


def test_the_first_restart_is_at_once_and_the_others_wait_longer_each() -> None:
    assert [backoff_s(n) for n in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    first = plan_restart(instance(restart_at=T0), T0, limit=5)
    assert first.start
    assert first.effects == (Vm(instance_uuid="i", restarts=1),)


@pytest.mark.parametrize(("after_s", "start"), [(9.9, False), (10.0, True)])
def test_a_second_restart_waits_for_its_back_off(after_s: float, start: bool) -> None:
    target = instance(restart_at=T0, restarts=1, restarted_at=later(-5))
    assert plan_restart(target, later(after_s), limit=5).start is start


def test_after_its_limit_it_is_stopped_with_the_reason_and_a_user_begins_a_new_row() -> None:
    decided = plan_restart(instance(restart_at=T0, restarts=5, restarted_at=later(-5)), later(999), limit=5)
    assert not decided.start
    [vm] = decided.effects
    assert isinstance(vm, Vm)
    assert (vm.vm_state, vm.restarts) == (VmState.STOPPED, 0)
    assert vm.fault is not None
    assert vm.fault.code == "RestartsExhausted"
    assert "5 restarts" in vm.fault.message


def test_ten_minutes_of_running_begin_a_new_row() -> None:
    target = instance(restart_at=T0, restarts=5, restarted_at=later(-600))
    decided = plan_restart(target, T0, limit=5)
    assert decided.start
    assert decided.effects == (Vm(instance_uuid="i", restarts=1),)


@given(limit=st.integers(1, 20), up_s=st.lists(st.floats(0, 599), max_size=40))
def test_a_guest_that_keeps_ending_is_stopped_after_its_limit(limit: int, up_s: list[float]) -> None:
    """However long each run was, as long as none was steady."""
    now, restarts, restarted_at, starts = T0, 0, None, 0
    for up in up_s:
        now += timedelta(seconds=up)
        target = instance(restart_at=now, restarts=restarts, restarted_at=restarted_at)
        decided = plan_restart(target, now + timedelta(seconds=300), limit=limit)
        if not decided.start:
            assert starts == limit
            return
        starts += 1
        now += timedelta(seconds=300)
        restarts, restarted_at = restarts + 1, now
    assert starts <= limit

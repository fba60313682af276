"""What no host can take: it fails, or waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conductor.effect import Finish, Wait
from conductor.plan.reap import plan_reap
from conductor.plan.room import plan_limit, plan_unplaceable
from drover.objects.group import Hints
from drover.objects.operation import Decision
from drover.states import OperationState
from tests.unit.conductor.plan.rows import T0, facts, later, operation

WAITING = operation(state=OperationState.SCHEDULING, host="", instance_name="vm")
WORDS = "of 3 hosts vcpus refused 1, memory refused 2"
REFUSED = Decision(operation_id="op", attempt=1, funnel=(("all", 3), ("vcpus", 2), ("disk", 2), ("memory", 0)), at=T0)
WAIT = Hints(wait=True)


def test_it_fails_with_the_funnel_in_words() -> None:
    [finish, *_] = plan_unplaceable(WAITING, Hints(), REFUSED, T0)
    assert isinstance(finish, Finish)
    assert finish.error is not None
    assert finish.error.message == f"no valid host for vm: {WORDS}; see: drover why vm"


def test_a_request_of_which_too_few_fit_says_how_many_did() -> None:
    short = replace(REFUSED, short="2 of 3 fit, at least 3 were asked for")
    [finish, *_] = plan_unplaceable(WAITING, Hints(), short, T0)
    assert isinstance(finish, Finish)
    assert finish.error is not None
    assert f": 2 of 3 fit, at least 3 were asked for; {WORDS};" in finish.error.message


def test_a_fleet_without_hosts_is_named_so() -> None:
    nobody = replace(REFUSED, funnel=(("all", 0), ("vcpus", 0)))
    assert plan_unplaceable(WAITING, WAIT, nobody, T0) == [Wait("op", 1, "no hosts are registered")]


def test_it_waits_when_its_request_says_so() -> None:
    assert plan_unplaceable(WAITING, WAIT, REFUSED, later(9999)) == [Wait("op", 1, WORDS)]


def test_the_same_refusal_again_writes_nothing() -> None:
    assert plan_unplaceable(replace(WAITING, waits=WORDS), WAIT, REFUSED, T0) == []
    assert plan_unplaceable(replace(WAITING, waits="other"), WAIT, REFUSED, T0) == [Wait("op", 1, WORDS)]


@pytest.mark.parametrize("state", [s for s in OperationState if s is not OperationState.SCHEDULING])
def test_only_what_is_being_placed_is_settled(state: OperationState) -> None:
    assert plan_unplaceable(replace(WAITING, state=state), Hints(), REFUSED, T0) == []


@pytest.mark.parametrize("decision", [None, replace(REFUSED, attempt=2), replace(REFUSED, chosen="h1")])
def test_only_by_a_decision_about_this_attempt(decision: Decision | None) -> None:
    assert plan_unplaceable(WAITING, Hints(), decision, T0) == []


def test_a_wait_has_an_end_when_it_has_one() -> None:
    limited = Hints(wait=True, wait_s=60.0)
    assert plan_limit(WAITING, WAIT, WORDS, later(10**6)) == []
    assert plan_limit(WAITING, limited, WORDS, later(59)) == []
    for effects in (
        plan_limit(WAITING, limited, WORDS, later(60)),
        plan_unplaceable(WAITING, limited, REFUSED, later(60)),
    ):
        [finish, *_] = effects
        assert isinstance(finish, Finish)
        assert finish.error is not None
        assert finish.error.code == "NoValidHost"
        assert f"{WORDS} for 60 s" in finish.error.message


def test_no_budget_runs_while_it_waits() -> None:
    reaped = plan_reap(replace(WAITING, waits=WORDS), {}, facts(), later(10**6), braked=False)
    assert reaped.renew
    assert not reaped.effects
    assert not reaped.schedule, "what waits is tried again in order, all together"

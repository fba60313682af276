"""Which hosts are set aside, and how they come back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.effect import BuildFailed
from conductor.plan.quarantine import Standing, failure_of, plan_quarantine
from drover.conf.conductor import ConductorSettings
from drover.db.quarantine import Failure, Quarantine, Suspect
from drover.objects.operation import ErrorInfo
from drover.states import OperationState
from tests.unit.conductor.plan.rows import T0, later, operation

SETTINGS = ConductorSettings(
    quarantine_failures=3, quarantine_window_s=600.0, quarantine_rest_s=100.0, quarantine_rest_max_s=250.0
)
HOSTS = 10
ASIDE = Quarantine(host="h1", reason="3 builds failed here", since=T0, until=later(100), rest_s=100.0)


def failures(*at_s: float, code: str = "DiskFull") -> tuple[Failure, ...]:
    return tuple(Failure(code=code, at=later(each)) for each in at_s)


def suspect(*at_s: float, host: str = "h1", **changes: object) -> Suspect:
    return replace(Suspect(host=host, failures=failures(*at_s)), **changes)  # type: ignore[arg-type]


def judged(it: Suspect, now_s: float, *, hosts: int = HOSTS) -> Standing:
    return plan_quarantine([it], hosts, SETTINGS, later(now_s))[it.host]


def test_a_few_failures_are_only_counted() -> None:
    assert judged(suspect(1, 2), 3) == Standing(quarantine=None, reason="", failures=2)


def test_enough_of_them_set_the_host_aside_with_their_codes() -> None:
    it = replace(suspect(1, 2), failures=(*failures(1, 2), *failures(3, code="DriverError")))
    after = judged(it, 4)
    assert after.quarantine is not None
    assert after.quarantine.until == later(104)
    assert after.reason.startswith("3 builds failed here: DiskFull 2, DriverError 1; a build may try it after 00:01:44")
    assert after.alarm == after.reason


def test_old_failures_count_no_more() -> None:
    assert judged(suspect(1, 2, 3), 602.5) == Standing(quarantine=None, reason="", failures=1)


def test_never_when_it_is_switched_off() -> None:
    off = replace(SETTINGS, quarantine_failures=0)
    assert plan_quarantine([suspect(1, 2, 3, 4)], HOSTS, off, later(5))["h1"].quarantine is None


def test_it_rests_whatever_happens() -> None:
    it = suspect(1, 2, 3, 50, quarantine=ASIDE, since_rest=frozenset())
    after = judged(it, 99)
    assert (after.quarantine, after.reason) == (ASIDE, ASIDE.reason)


def test_after_its_rest_one_build_may_try_it_and_no_other_meanwhile() -> None:
    rested = suspect(1, 2, 3, quarantine=ASIDE)
    assert judged(rested, 101).reason == ""
    assert judged(rested, 101).alarm, "it is no sound host yet"
    tried = replace(rested, since_rest=frozenset({OperationState.RUNNING}))
    assert judged(tried, 101).reason == "a build tries it now"


def test_a_build_that_works_clears_everything() -> None:
    it = suspect(1, 2, 3, quarantine=ASIDE, since_rest=frozenset({OperationState.SUCCEEDED, OperationState.RUNNING}))
    assert judged(it, 101) == Standing(quarantine=None, reason="", failures=0, forgiven=True)


def test_a_build_that_fails_doubles_the_rest_up_to_a_bound() -> None:
    first = judged(suspect(1, 2, 3, 110, quarantine=ASIDE), 111).quarantine
    assert first is not None
    assert (first.rest_s, first.until, first.since) == (200.0, later(311), T0)
    second = judged(suspect(1, 2, 3, 110, 320, quarantine=first), 321).quarantine
    assert second is not None
    assert second.rest_s == 250.0


def test_what_is_rested_for_longer_than_the_window_is_still_tried_first() -> None:
    """Its failures are forgotten by then, its quarantine is not."""
    long = replace(ASIDE, until=later(2000), rest_s=2000.0)
    after = judged(suspect(quarantine=long), 2001)
    assert (after.quarantine, after.reason, after.failures) == (long, "", 0)


def test_no_more_than_the_share_is_set_aside_and_the_worst_go_first() -> None:
    many = [suspect(1, 2, 3, host="a"), suspect(1, 2, 3, 4, host="b"), suspect(1, 2, 3, host="c")]
    planned = plan_quarantine(many, 10, SETTINGS, later(5))
    assert [name for name, each in sorted(planned.items()) if each.quarantine] == ["a", "b"]
    assert "not set aside" in planned["c"].alarm
    assert planned["c"].reason == ""


def test_a_small_fleet_loses_none() -> None:
    assert judged(suspect(1, 2, 3), 4, hosts=4).quarantine is None
    assert judged(suspect(1, 2, 3), 4, hosts=5).quarantine is not None


@given(
    counts=st.lists(st.integers(0, 6), max_size=30),
    aside=st.sets(st.integers(0, 29), max_size=6),
    hosts=st.integers(30, 100),
)
def test_the_share_holds_whatever_fails(counts: list[int], aside: set[int], hosts: int) -> None:
    allowed = int(SETTINGS.quarantine_share * hosts)
    suspects = [
        suspect(
            *range(count),
            host=f"h{place}",
            quarantine=replace(ASIDE, host=f"h{place}") if place in aside else None,
        )
        for place, count in enumerate(counts)
    ]
    before = sum(each.quarantine is not None for each in suspects)
    planned = plan_quarantine(suspects, hosts, SETTINGS, later(10))
    after = sum(each.quarantine is not None for each in planned.values())
    assert after <= max(allowed, before)
    # Who is judged again as it stands then stands as it stood.
    again = [replace(it, quarantine=planned[it.host].quarantine, reason=planned[it.host].reason) for it in suspects]
    assert {n: p.quarantine for n, p in plan_quarantine(again, hosts, SETTINGS, later(10)).items()} == {
        n: p.quarantine for n, p in planned.items()
    }


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ErrorInfo(code="DiskFull", message="", retryable=True), "op"),
        (ErrorInfo(code="ImageFetchFailed", message="", retryable=True, params={"image": "img"}), "image img"),
        (ErrorInfo(code="ImageUnsafe", message=""), ""),
        (ErrorInfo(code="OperationCancelled", message="", retryable=True), ""),
    ],
)
def test_whose_fault_a_failed_build_is(error: ErrorInfo, cause: str) -> None:
    expected = [BuildFailed("h1", cause, error.code)] if cause else []
    assert failure_of(operation(), "h1", error) == expected


def test_what_an_agent_sends_is_bounded() -> None:
    error = ErrorInfo(code="ImageFetchFailed", message="", retryable=True, params={"image": "\0" + "x" * 5000})
    [found] = failure_of(operation(), "h1", error)
    assert found.cause == f"image {'x' * 249}"
    [found] = failure_of(operation(), "h1", ErrorInfo(code="\0" + "Y" * 99, message="", retryable=True))
    assert found.code == "Y" * 64

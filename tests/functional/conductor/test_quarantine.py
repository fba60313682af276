"""A host where builds fail is set aside, tried after a rest, and released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from conductor.breaker import Breaker
from drover.conf.conductor import ConductorSettings
from drover.conf.times import TimeSettings
from drover.objects.event import EventKind
from drover.objects.host import Host
from drover.objects.instance import CreateReply
from drover.objects.operation import ErrorInfo
from drover.objects.sync import Order, Outcome
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent
from tests.functional.conductor.kill import Killed, Point, dying_core

#: far beyond any test on a loaded machine
PATIENCE_S = 60.0
FULL = ErrorInfo(code="DiskFull", message="no space for disk on /", retryable=True)


@pytest.fixture
def times() -> TimeSettings:
    return TimeSettings(join_window_s=0.0, reap_interval_s=0.05, silent_factor=1000.0)


@pytest.fixture
def settings() -> ConductorSettings:
    return ConductorSettings(quarantine_failures=2, quarantine_rest_s=1.0)


def until(fleet: Fleet, look: Callable[[Host], bool], what: str, name: str = "h1") -> Host:
    deadline = fleet.runtime.clock.monotonic() + PATIENCE_S
    while not look(it := fleet.api.host_show(CTX, name)):
        assert fleet.runtime.clock.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}: {it}"
        fleet.runtime.sleep(0.01)
    return it


def five(fleet: Fleet) -> PlayedAgent:
    """Five hosts, of which one may be set aside; the first."""
    first, *_ = [fleet.agent(f"h{number}") for number in range(1, 6)]
    return first


def ordered(fleet: Fleet, agent: PlayedAgent, count: int = 1) -> list[Order]:
    """So many builds on their way to a host."""
    name = f"b{fleet.runtime.uuid()[:8]}"
    reply: CreateReply = fleet.create(name, count=count, networks=())
    fleet.place(reply, agent.name)
    known = set(reply.operation_ids)
    return [order for order in agent.sync().orders if order.operation_id in known]


def fail(fleet: Fleet, agent: PlayedAgent, count: int = 1, error: ErrorInfo = FULL) -> None:
    for order in ordered(fleet, agent, count):
        agent.end(order, Outcome.FAILED, clean=True, error=error)


def alarms(fleet: Fleet) -> list[tuple[str, str]]:
    return [(each.kind, each.subject) for each in fleet.api.alarm_list(CTX)]


def told(fleet: Fleet, name: str = "h1") -> list[str]:
    page = fleet.events.wait(0, 0.0)
    return [e.state for e in page.events if e.kind == EventKind.HOST and e.subject == name and e.state != "registered"]


def test_it_is_set_aside_with_what_failed(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent)
    until(fleet, lambda it: it.failures == 1, "the first failure")
    assert not alarms(fleet)
    fail(fleet, agent)
    it = until(fleet, lambda it: bool(it.quarantine), "quarantine")
    assert it.quarantine.startswith("2 builds failed here: DiskFull 2; a build may try it after")
    assert (it.failures, it.enabled, it.up) == (2, True, True)
    assert alarms(fleet) == [("FailingHost", "h1")]
    assert told(fleet)[-1] == "quarantined"
    assert not fleet.api.host_show(CTX, "h2").quarantine


def test_what_is_not_the_hosts_fault_does_not_count(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent, 3, ErrorInfo(code="ImageUnsafe", message="a backing file"))
    fail(fleet, agent, 3, ErrorInfo(code="OperationCancelled", message="", retryable=True))
    fail(fleet, agent, 3, ErrorInfo(code="ImageFetchFailed", message="404", retryable=True, params={"image": "i"}))
    it = until(fleet, lambda it: it.failures > 0, "a failure")
    assert it.failures == 1
    assert not it.quarantine


def test_a_build_that_works_releases_it(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent, 2)
    until(fleet, lambda it: bool(it.quarantine), "quarantine")
    until(fleet, lambda it: not it.quarantine, "the end of the rest")
    assert alarms(fleet) == [("FailingHost", "h1")]
    [order] = ordered(fleet, agent)
    until(fleet, lambda it: it.quarantine == "a build tries it now", "no other build meanwhile")
    assert agent.begin(order)
    agent.end(order)
    it = until(fleet, lambda it: not it.quarantine, "its release")
    assert it.failures == 0
    assert not alarms(fleet)
    assert told(fleet) == ["quarantined", "half-open", "released"]


def test_a_build_that_fails_sets_it_aside_again(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent, 2)
    until(fleet, lambda it: bool(it.quarantine), "quarantine")
    until(fleet, lambda it: not it.quarantine, "the end of the rest")
    fail(fleet, agent)
    until(fleet, lambda it: it.quarantine.startswith("1 build failed here"), "quarantine again")
    with fleet.database.read() as conn:
        assert conn.execute(sa.text("SELECT rest_s FROM host_quarantine")).scalar_one() == 2.0


def test_a_build_that_is_deleted_leaves_it_open_to_the_next(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent, 2)
    until(fleet, lambda it: bool(it.quarantine), "quarantine")
    until(fleet, lambda it: not it.quarantine, "the end of the rest")
    [order] = ordered(fleet, agent)
    until(fleet, lambda it: bool(it.quarantine), "no other build meanwhile")
    fleet.api.operation_cancel(CTX, order.operation_id)
    until(fleet, lambda it: not it.quarantine, "another build")


def test_one_build_may_try_it_however_many_want_to(fleet: Fleet) -> None:
    agent = five(fleet)
    fail(fleet, agent, 2)
    until(fleet, lambda it: bool(it.quarantine), "quarantine")
    until(fleet, lambda it: not it.quarantine, "the end of the rest")
    reply = fleet.create("many", count=3, networks=())
    fleet.place(reply)
    states = [str(fleet.api.operation_show(CTX, op).state) for op in reply.operation_ids]
    assert sorted(states) == ["dispatched", "scheduling", "scheduling"]
    assert fleet.api.host_show(CTX, "h1").quarantine == "a build tries it now", "with the claim itself"
    fleet.place(reply)
    assert len(agent.sync().orders) == 1


class TestLongRest:
    @pytest.fixture
    def settings(self) -> ConductorSettings:
        return ConductorSettings(quarantine_failures=2, quarantine_rest_s=3600.0)

    def test_an_operator_releases_it_at_once(self, fleet: Fleet) -> None:
        agent = five(fleet)
        fail(fleet, agent, 2)
        until(fleet, lambda it: bool(it.quarantine), "quarantine")
        it = fleet.api.host_release(CTX, "h1")
        assert (it.quarantine, it.failures) == ("", 0)
        assert not alarms(fleet)
        assert told(fleet)[-1] == "released"
        fail(fleet, agent)  # what failed before is forgotten
        assert not until(fleet, lambda it: it.failures == 1, "a failure").quarantine

    def test_no_more_than_the_share_is_set_aside(self, fleet: Fleet) -> None:
        agents = [fleet.agent(f"h{number}") for number in range(1, 6)]
        fail(fleet, agents[0], 3)
        until(fleet, lambda it: bool(it.quarantine), "quarantine")
        fail(fleet, agents[1], 2)
        it = until(fleet, lambda it: it.failures == 2, "its failures", "h2")
        assert not it.quarantine
        assert alarms(fleet) == [("FailingHost", "h1"), ("FailingHost", "h2")]
        assert "it is not set aside: no more than 20% of the hosts may be" in fleet.api.alarm_list(CTX)[1].detail
        fleet.api.host_release(CTX, "h1")
        until(fleet, lambda it: bool(it.quarantine), "its turn", "h2")
        assert "a build may try it after" in fleet.api.alarm_list(CTX)[0].detail


class TestDeath:
    @pytest.fixture
    def times(self) -> TimeSettings:
        """The conductor that serves never judges: those of the test do."""
        return TimeSettings(join_window_s=0.0, reap_interval_s=3600.0)

    @pytest.mark.parametrize("point", list(Point))
    def test_a_conductor_that_dies_of_judging_leaves_it_to_the_next(
        self, fleet: Fleet, settings: ConductorSettings, point: Point
    ) -> None:
        agent = five(fleet)
        fail(fleet, agent, 2)
        dying = replace(dying_core(fleet, point), settings=settings)
        with pytest.raises(Killed):
            Breaker(dying).round()
        it = fleet.api.host_show(CTX, "h1")
        judged = point is Point.AFTER
        assert (bool(it.quarantine), it.failures, len(alarms(fleet))) == (judged, 2 * judged, judged)
        living = Breaker(replace(dying, database=fleet.database))
        living.round()
        it = fleet.api.host_show(CTX, "h1")
        assert it.quarantine.startswith("2 builds failed here")
        assert (it.failures, alarms(fleet)) == (2, [("FailingHost", "h1")])
        living.round()
        assert fleet.api.host_show(CTX, "h1").quarantine == it.quarantine

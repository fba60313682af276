"""The runner over steps made for each test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.claims import Claims
from agent.journal import Journal
from agent.operations import STEPS
from agent.operations.runner import Runner
from agent.operations.step import Attempt, Step
from agent.operations.token import Reason, Token
from agent.state_dir import MemoryStateDir
from agent.virt.driver import Backend
from drover import errors
from drover.objects.host import Resources
from drover.objects.sync import Outcome
from drover.runtime.points import NoPoints
from drover.states import Action
from tests.contract.virt.spec import make_order, make_spec
from tests.unit.agent.hypervisor import FakeImages, Hypervisor, Machine
from tests.unit.agent.manual import jumping_runtime
from tests.unit.agent.scene import no_watch


class Allowed:
    def permit(self) -> None:
        """Granted."""

    def lease(self) -> None:
        """Valid."""

    def alive(self) -> bool:
        return True


class Bench:
    def __init__(self) -> None:
        self.runtime, self.clock = jumping_runtime()
        self.journal = Journal(self.runtime, MemoryStateDir())
        self.journal.open()
        self.runner = Runner(self.runtime, self.journal, NoPoints())
        driver = Hypervisor(Machine(), no_watch)
        self.backend = Backend(driver=driver, images=FakeImages(driver))
        self.log: list[str] = []

    def attempt(self, action: Action = Action.BUILD, *, resumed: bool = False) -> Attempt:
        return Attempt(
            order=make_order(action, make_spec()),
            token=Token(self.runtime, self.clock.monotonic() + 60),
            leave=Allowed(),
            backend=self.backend,
            claims=Claims(self.runtime, "h1", Resources(vcpus=9, memory_mib=9999, disk_gib=9)),
            stop_timeout_s=60.0,
            resumed=resumed,
            made=True,
        )

    def step(self, name: str, *, fails: Exception | None = None, undo_fails: bool = False) -> Step:
        def run(attempt: Attempt) -> None:
            self.clock.pass_by(1.5)
            self.log.append(name)
            if fails is not None:
                raise fails

        def undo(attempt: Attempt) -> None:
            self.log.append(f"undo {name}")
            attempt.removed = True
            if undo_fails:
                raise errors.DriverError(operation="undo", detail="no")

        return Step(name, run, undo)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_all_steps_with_their_times(bench: Bench) -> None:
    result = bench.runner.run(bench.attempt(), (bench.step("a"), bench.step("b")))
    assert result is not None
    assert result.outcome is Outcome.SUCCEEDED
    assert [(s.name, s.at_s, s.duration_s, s.outcome) for s in result.steps] == [
        ("a", 0.0, 1.5, "done"),
        ("b", 1.5, 1.5, "done"),
    ]
    assert bench.log == ["a", "b"]
    assert bench.journal.results() == [result]


def test_failure_undoes_in_reverse_also_the_step_that_failed(bench: Bench) -> None:
    failing = bench.step("b", fails=errors.DiskFull(what="disk", path="/x"))
    result = bench.runner.run(bench.attempt(), (bench.step("a"), failing, bench.step("c")))
    assert result is not None
    assert bench.log == ["a", "b", "undo b", "undo a"]
    assert (result.outcome, result.clean) == (Outcome.FAILED, True)
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("DiskFull", True)
    assert [(s.name, s.outcome) for s in result.steps] == [("a", "done"), ("b", "failed"), ("undo", "undone")]


def test_failed_undo_goes_on_and_is_not_clean(bench: Bench) -> None:
    failing = bench.step("b", fails=errors.DiskFull(what="disk", path="/x"), undo_fails=True)
    result = bench.runner.run(bench.attempt(), (bench.step("a"), failing))
    assert result is not None
    assert bench.log[-1] == "undo a"
    assert not result.clean


def test_defect_is_a_failure_with_undo(bench: Bench) -> None:
    result = bench.runner.run(bench.attempt(), (bench.step("a", fails=ZeroDivisionError("oops")),))
    assert result is not None
    assert result.error is not None
    assert result.error.code == "Internal"
    assert "ZeroDivisionError: oops" in result.error.message
    assert bench.log == ["a", "undo a"]


def test_budget(bench: Bench) -> None:
    def slow(attempt: Attempt) -> None:
        bench.clock.pass_by(61)

    result = bench.runner.run(bench.attempt(), (Step("slow", slow), bench.step("never")))
    assert result is not None
    assert result.error is not None
    assert result.error.code == "BudgetExceeded"
    assert bench.log == []


@pytest.mark.parametrize("reason", [Reason.DROPPED, Reason.SUPERSEDED])
@pytest.mark.parametrize("permitted", [False, True])
def test_taken_away(bench: Bench, reason: Reason, permitted: bool) -> None:
    attempt = bench.attempt()

    def taken(attempt: Attempt) -> None:
        attempt.permitted = permitted
        attempt.token.set(reason)

    result = bench.runner.run(attempt, (bench.step("a"), Step("b", taken), bench.step("c")))
    assert result is None
    assert bench.log == (["a"] if permitted else ["a", "undo a"])
    assert bench.journal.results() == []


def test_shutdown_leaves_everything_as_it_is(bench: Bench) -> None:
    attempt = bench.attempt()
    result = bench.runner.run(
        attempt, (bench.step("a"), Step("b", lambda a: a.token.set(Reason.SHUTDOWN)), bench.step("c"))
    )
    assert result is None
    assert bench.log == ["a"]
    key = (attempt.order.operation_id, 1)
    assert bench.journal.was_begun(key)
    assert bench.journal.marks(key) == {"a", "b"}


def test_refused(bench: Bench) -> None:
    def refused(attempt: Attempt) -> None:
        attempt.token.set(Reason.REFUSED)
        attempt.token.check()

    result = bench.runner.run(bench.attempt(), (bench.step("a"), Step("permit", refused)))
    assert result is not None
    assert (result.outcome, result.clean) == (Outcome.CANCELLED, True)
    assert bench.log == ["a", "undo a"]


def test_settled_attempt_skips_the_rest(bench: Bench) -> None:
    def settle(attempt: Attempt) -> None:
        attempt.settled = True

    result = bench.runner.run(bench.attempt(), (Step("claim", settle), bench.step("a")))
    assert result is not None
    assert [(s.name, s.outcome) for s in result.steps] == [("claim", "done"), ("a", "skipped")]
    assert bench.log == []


def test_steps_before_the_one_to_resume_at_are_skipped(bench: Bench) -> None:
    def found(attempt: Attempt) -> None:
        attempt.resume_at = "c"

    steps = (Step("find", found), bench.step("b"), bench.step("c"), bench.step("d"))
    result = bench.runner.run(bench.attempt(), steps)
    assert result is not None
    assert [s.outcome for s in result.steps] == ["done", "skipped", "done", "done"]
    assert bench.log == ["c", "d"]


def test_facts_are_known_to_the_next_incarnation(bench: Bench) -> None:
    class Death(BaseException):
        pass

    def die(attempt: Attempt) -> None:
        raise Death

    with pytest.raises(Death):
        bench.runner.run(bench.attempt(), (Step("find", lambda a: a.facts.add("ran")), Step("b", die)))
    again = bench.attempt(resumed=True)
    bench.runner.run(again, (bench.step("b"),))
    assert "ran" in again.facts


def test_death_undoes_nothing(bench: Bench) -> None:
    class Death(BaseException):
        pass

    def die(attempt: Attempt) -> None:
        raise Death

    with pytest.raises(Death):
        bench.runner.run(bench.attempt(), (bench.step("a"), Step("b", die)))
    assert bench.log == ["a"]


def test_cancelled_before_it_began(bench: Bench) -> None:
    attempt = bench.attempt()
    attempt.token.set(Reason.DROPPED)
    assert bench.runner.run(attempt, (bench.step("a"),)) is None
    assert "a" not in bench.log
    assert not bench.journal.was_begun((attempt.order.operation_id, 1))


def test_order_without_its_spec(bench: Bench) -> None:
    attempt = bench.attempt()
    attempt.order = replace(attempt.order, spec=None)
    result = bench.runner.run(attempt, STEPS[Action.BUILD])
    assert result is not None
    assert result.error is not None
    assert result.error.code == "BadRequest"


class _Away:
    """A step whose hypervisor is away for a while, measured by the clock."""

    def __init__(self, bench: Bench, for_s: float) -> None:
        self._bench = bench
        self._until = bench.clock.monotonic() + for_s
        self.tries = 0

    def __call__(self, attempt: Attempt) -> None:
        self.tries += 1
        if self._bench.clock.monotonic() < self._until:
            self._bench.clock.pass_by(5.0)
            raise errors.DriverUnavailable(detail="libvirtd restarts")


def test_a_restart_of_the_hypervisors_daemon_is_waited_for(bench: Bench) -> None:
    away = _Away(bench, for_s=20.0)
    result = bench.runner.run(bench.attempt(), (Step("define", away),))
    assert result is not None
    assert result.outcome is Outcome.SUCCEEDED
    assert away.tries == 5


def test_a_build_that_can_go_elsewhere_does_not_wait_long(bench: Bench) -> None:
    away = _Away(bench, for_s=50.0)
    result = bench.runner.run(bench.attempt(), (Step("define", away),))
    assert result is not None
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("DriverUnavailable", True)
    assert away.tries == 6


def test_what_may_run_here_waits_as_long_as_its_budget_lasts(bench: Bench) -> None:
    attempt = bench.attempt()
    attempt.permitted = True
    result = bench.runner.run(attempt, (Step("start", _Away(bench, for_s=50.0)),))
    assert result is not None
    assert result.outcome is Outcome.SUCCEEDED
    attempt = bench.attempt()
    attempt.permitted = True
    result = bench.runner.run(attempt, (Step("start", _Away(bench, for_s=90.0)),))
    assert result is not None
    assert result.outcome is Outcome.FAILED

"""Every verb of the step lists, from every state it is legal in: done, killed anywhere, cancelled anywhere, and with a
hypervisor that goes away.

Nothing here names a verb's steps: a new verb in :data:`agent.operations.STEPS` is covered by its row in
:data:`drover.states.VERBS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from agent.operations import STEPS
from agent.operations.token import Reason
from agent.points import points_of
from drover import errors
from drover.objects.sync import Outcome
from drover.states import VERBS, Action, VmState
from tests.unit.agent.hypervisor import Killed
from tests.unit.agent.scene import BUDGET_S, Scene, Script, no_watch

SCENES = [
    pytest.param(action, vm_state, id=f"{action}-{vm_state}")
    for action in STEPS
    for vm_state in sorted(VERBS[action].legal)
]


def points(action: Action) -> tuple[str, ...]:
    return points_of({action: STEPS[action]})


def calls_of(action: Action, vm_state: VmState) -> Iterator[tuple[int, str]]:
    """Each call of an undisturbed run, before and after its effect."""
    scene = Scene(action, vm_state)
    scene.live()
    for number in range(scene.driver.calls):
        yield number, "before"
        yield number, "after"


def kill() -> None:
    raise Killed


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_done(action: Action, vm_state: VmState) -> None:
    scene = Scene(action, vm_state)
    result = scene.live()
    scene.check_done(result)
    assert result is not None
    assert [step.name for step in result.steps] == [step.name for step in STEPS[action]]


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_killed_at_each_point(action: Action, vm_state: VmState, journal: str) -> None:
    for point in points(action):
        scene = Scene(action, vm_state)
        scene.script = Script(point, kill)
        scene.dies()
        if journal == "lost":
            scene.lose_journal()
        scene.check_done(scene.live())


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_killed_inside_each_step(action: Action, vm_state: VmState, journal: str) -> None:
    """Before and after the effect of each call to the hypervisor and to the images."""
    for at in calls_of(action, vm_state):
        scene = Scene(action, vm_state)

        def watch(number: int, when: str, at: tuple[int, str] = at) -> None:
            if (number, when) == at:
                raise Killed

        scene.watch = watch
        scene.dies()
        if journal == "lost":
            scene.lose_journal()
        scene.check_done(scene.live())


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_killed_twice(action: Action, vm_state: VmState) -> None:
    for second in points(action):
        scene = Scene(action, vm_state)
        scene.script = Script(points(action)[-2], kill)  # all is done, nothing is kept
        scene.dies()
        scene.script = Script(second, kill)
        try:
            result = scene.live()
        except Killed:
            scene.script = Script()
            result = scene.live()
        scene.check_done(result)


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_killed_while_it_takes_back(action: Action, vm_state: VmState) -> None:
    for at in calls_of(action, vm_state):
        for point in ("undo", "undo.done"):
            scene = Scene(action, vm_state)
            scene.script = Script(f"{action}.{point}", kill)
            scene.watch = refused(at)
            try:
                result = scene.live()
            except Killed:
                scene.script, scene.watch = Script(), no_watch
                result = scene.live()
                scene.check_done(result, most_boots=3)  # for it, to take it back, and for it again
            assert result is not None


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_a_stop_of_the_agent_at_each_point(action: Action, vm_state: VmState) -> None:
    for point in points(action)[:-2]:
        scene = Scene(action, vm_state)
        scene.script = Script(point, lambda scene=scene: scene.cancel(Reason.SHUTDOWN))  # type: ignore[misc]
        assert scene.live() is None or point.endswith(f"{STEPS[action][-1].name}")
        scene.check_done(scene.live())


@pytest.mark.parametrize("reason", [Reason.DROPPED, Reason.SUPERSEDED])
@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_taken_away_at_each_point(action: Action, vm_state: VmState, reason: Reason) -> None:
    for point in points(action)[:-2]:
        scene = Scene(action, vm_state)
        scene.script = Script(point, lambda scene=scene: scene.cancel(reason))  # type: ignore[misc]
        result = scene.live()
        assert scene.machine.snapshots == set()
        if result is None and reason is Reason.DROPPED and not permitted(action, point):
            scene.check_taken_back()
        scene.check_not_stuck()


def permitted(action: Action, point: str) -> bool:
    """A guest that may start is not undone: its ``leaving`` record says when it goes."""
    names = [step.name for step in STEPS[action]]
    step = point.partition(".")[2].removesuffix(".done")
    at = names.index(step) + point.endswith(".done")
    return VERBS[action].places and at > names.index("permit")


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_budget_used_up_at_each_point(action: Action, vm_state: VmState) -> None:
    for point in points(action)[:-2]:
        scene = Scene(action, vm_state)
        scene.script = Script(point, lambda scene=scene: scene.clock.pass_by(BUDGET_S))  # type: ignore[misc]
        result = scene.live()
        assert result is not None
        if result.outcome is Outcome.FAILED:
            assert result.error is not None
            assert result.error.code == "BudgetExceeded"
            scene.check_taken_back()
        scene.check_not_stuck()


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_the_hypervisor_is_away_for_a_while(action: Action, vm_state: VmState) -> None:
    """From each of its calls on, before or after its effect."""
    for at in calls_of(action, vm_state):
        scene = Scene(action, vm_state)
        scene.watch = away(scene, at, 20.0)
        scene.check_done(scene.live())


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_the_hypervisor_stays_away(action: Action, vm_state: VmState) -> None:
    for at in calls_of(action, vm_state):
        scene = Scene(action, vm_state)
        scene.watch = away(scene, at, 2 * BUDGET_S)
        result = scene.live()
        assert result is not None
        assert result.outcome is Outcome.FAILED
        assert result.error is not None
        assert result.error.code in ("DriverUnavailable", "OutcomeUnknown", "BudgetExceeded")
        scene.check_not_stuck()


@pytest.mark.parametrize(("action", "vm_state"), SCENES)
def test_each_call_refused_for_good(action: Action, vm_state: VmState) -> None:
    """A plain error at each call: the order fails and takes back what it did, or finds it done after all."""
    for at in calls_of(action, vm_state):
        scene = Scene(action, vm_state)
        scene.watch = refused(at)
        result = scene.live()
        assert result is not None
        if result.outcome is Outcome.SUCCEEDED:
            scene.check_done(result)
        else:
            scene.check_taken_back()
        scene.check_not_stuck()


def refused(at: tuple[int, str]) -> Callable[[int, str], None]:
    def watch(number: int, when: str) -> None:
        if (number, when) == at:
            raise errors.DriverError(operation="test", detail="no")

    return watch


def away(scene: Scene, at: tuple[int, str], for_s: float) -> Callable[[int, str], None]:
    until: list[float] = []

    def watch(number: int, when: str) -> None:
        if (number, when) == at and not until:
            until.append(scene.clock.monotonic() + for_s)
        if until and scene.clock.monotonic() < until[0] and (when == "before" or (number, when) == at):
            raise errors.DriverUnavailable(detail="test")

    return watch

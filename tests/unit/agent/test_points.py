from __future__ import annotations

from agent.operations import STEPS
from agent.points import points_of
from drover.states import Action


def test_points_of_a_verb() -> None:
    assert points_of({Action.PAUSE: STEPS[Action.PAUSE]}) == (
        "pause.find",
        "pause.find.done",
        "pause.pause",
        "pause.pause.done",
        "pause.result",
    )


def test_every_verb_has_steps_and_every_point_its_own_name() -> None:
    assert set(STEPS) == set(Action)
    names = points_of(STEPS)
    assert len(names) == len(set(names)) == sum(2 * len(steps) + 1 for steps in STEPS.values())

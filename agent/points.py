"""The names of all places where a test may end the agent, from the step lists themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.operations.step import Step
from drover.states import Action

__all__ = ["points_of"]


def points_of(steps: Mapping[Action, Sequence[Step]]) -> tuple[str, ...]:
    """Every point that an order which succeeds passes: before and after each step, and with its result kept but
    not told.

    An order that fails passes ``<verb>.undo`` and ``<verb>.undo.done`` besides.
    """
    names: list[str] = []
    for action, of_verb in steps.items():
        names += [f"{action}.{step.name}{end}" for step in of_verb for end in ("", ".done")]
        names.append(f"{action}.result")
    return tuple(names)

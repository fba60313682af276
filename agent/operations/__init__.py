"""Verbs as lists of small, idempotent steps, and the runner that takes an order through them."""

from agent.operations.build import BUILD
from agent.operations.delete import DELETE
from agent.operations.lifecycle import REBOOT, START, STOP
from agent.operations.step import Step
from drover.states import Action

__all__ = ["STEPS"]

#: what each verb does on a host, in order
STEPS: dict[Action, tuple[Step, ...]] = {
    Action.BUILD: BUILD,
    Action.DELETE: DELETE,
    Action.START: START,
    Action.STOP: STOP,
    Action.REBOOT: REBOOT,
}

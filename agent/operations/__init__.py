"""Verbs as lists of small, idempotent steps, and the runner that takes an order through them."""

from agent.operations.build import BUILD
from agent.operations.delete import DELETE
from agent.operations.lifecycle import PAUSE, RESTORE, RESUME, SOFT_DELETE, START, STOP, SUSPEND, UNPAUSE
from agent.operations.reboot import REBOOT
from agent.operations.rebuild import REBUILD
from agent.operations.rescue import RESCUE, UNRESCUE
from agent.operations.snapshot import SHELVE, SNAPSHOT
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
    Action.PAUSE: PAUSE,
    Action.UNPAUSE: UNPAUSE,
    Action.SUSPEND: SUSPEND,
    Action.RESUME: RESUME,
    Action.REBUILD: REBUILD,
    Action.RESCUE: RESCUE,
    Action.UNRESCUE: UNRESCUE,
    Action.SNAPSHOT: SNAPSHOT,
    Action.SHELVE: SHELVE,
    Action.UNSHELVE: BUILD,
    Action.SOFT_DELETE: SOFT_DELETE,
    Action.RESTORE: RESTORE,
}

"""An instance that tests take to any state and through any verb, by the states table alone."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.states import VERBS, Action, Evidence, OperationState, RestartPolicy, VmState
from tests.fleet import Fleet

__all__ = ["KEPT", "RECLAIM", "Subject", "end_of", "road", "states_of"]

#: settings of a fleet where deleted instances can be restored, so that every verb can be asked for
RECLAIM = {"reclaim_instance_interval_s": "3600"}
#: the name of every snapshot's image
KEPT = "kept"
#: what is asked for a verb that is not asked for by its own name, and its parameters
_ASKED: Mapping[Action, tuple[Action, dict[str, str]]] = {
    Action.SOFT_DELETE: (Action.DELETE, {}),
    Action.DELETE: (Action.DELETE, {"force": "true"}),
    Action.REBOOT: (Action.REBOOT, {"type": "hard"}),
    Action.SNAPSHOT: (Action.SNAPSHOT, {"name": KEPT}),
}

#: no verb leads there
_UNREACHED = frozenset({VmState.ERROR, VmState.DELETED})


def states_of(action: Action, *, every: bool) -> list[VmState]:
    """Legal states that verbs lead to: all of them, or the first by name; ``building`` is where a build begins."""
    legal = VERBS[action].legal - _UNREACHED
    return sorted(legal if action is Action.BUILD else legal - {VmState.BUILDING})[: None if every else 1]


def road(start: VmState, goals: AbstractSet[VmState]) -> list[Action]:
    """The fewest verbs from *start* to one of *goals*; none that interrupts a guest on its way."""
    roads: dict[VmState, list[Action]] = {start: []}
    ahead = [start]
    while ahead:
        state = ahead.pop(0)
        if state in goals:
            return roads[state]
        for verb in VERBS.values():
            begins = VmState.BUILDING if state is VmState.DELETED else state
            plain = verb.evidence is Evidence.LEVEL and begins in verb.legal
            if plain and verb.end is not None and verb.end not in roads:
                roads[verb.end] = [*roads[state], verb.action]
                ahead.append(verb.end)
    raise AssertionError(f"no verbs lead from {start} to {sorted(goals)}")


def end_of(action: Action, before: VmState) -> VmState:
    """Where an instance is that was *before* when its verb has succeeded."""
    if action is Action.REBUILD and before is VmState.STOPPED:
        return VmState.STOPPED
    return VERBS[action].end or before


class Subject:
    """One instance after another: after a delete the next verb begins with a build."""

    def __init__(self, fleet: Fleet, *, restart: RestartPolicy = RestartPolicy.NEVER) -> None:
        self.fleet = fleet
        self.uuid = ""
        self._restart = restart

    def show(self) -> Instance:
        return self.fleet.patiently(lambda: self.fleet.api.instance_show(self.fleet.context(), self.uuid))

    @property
    def vm_state(self) -> VmState:
        return self.show().vm_state if self.uuid else VmState.BUILDING

    def ask(self, action: Action, **params: str) -> str:
        """Begin a verb; the id of its operation."""
        if action is Action.BUILD:
            created = self.fleet.create(1, restart=self._restart)
            [self.uuid] = created.instance_uuids
            return created.operation_ids[0]
        asked, needed = _ASKED.get(action, (action, {}))
        return self.fleet.act(self.uuid, asked, **{**needed, **params}).id

    def wait(self, operation_id: str) -> Operation:
        [ended] = self.fleet.wait([operation_id])
        if ended.action is Action.DELETE and ended.state is OperationState.SUCCEEDED:
            self.uuid = ""
        if ended.action is Action.SNAPSHOT and ended.state is OperationState.SUCCEEDED:
            self.fleet.api.image_delete(self.fleet.context(), ended.params["image_id"])
        return ended

    def do(self, action: Action, **params: str) -> Operation:
        return self.wait(self.ask(action, **params))

    def must(self, action: Action, **params: str) -> Operation:
        """Do it, and it succeeds."""
        ended = self.do(action, **params)
        assert ended.state is OperationState.SUCCEEDED, (ended.action, ended.error)
        return ended

    def bring_to(self, *goals: VmState) -> VmState:
        """By as few verbs as possible; where it is then."""
        while ways := road(self.vm_state, set(goals)):
            self.must(ways[0])
        return self.vm_state

    def begin_in(self, state: VmState) -> None:
        """*state*, or nothing there for ``building``."""
        if state is VmState.BUILDING:
            self.away()
        else:
            self.bring_to(state)

    def away(self) -> None:
        """Deleted for good, wherever it is."""
        if self.uuid:
            self.must(Action.DELETE)

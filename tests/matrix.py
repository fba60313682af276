"""The crash matrix: every verb, every step, every process, made from the step lists and the states table.

A cell brings an instance to a state, begins a verb, and lets one part of the lab die when the verb is at one point of
one process.  A new verb has its cells as soon as it has its steps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from agent.operations import STEPS
from agent.points import points_of
from conductor.points import Commit
from drover import errors
from drover.lab.spec import Driver
from drover.objects.operation import Operation
from drover.runtime import program
from drover.runtime.points import HELD, HOLD, KILL
from drover.states import VERBS, Action, Evidence, OperationState, VmState
from scheduler.service import CLAIM
from tests import nursery, promise
from tests.fleet import Fleet, fleet
from tests.moment import kill_guest
from tests.subject import RECLAIM, Subject, end_of, states_of

__all__ = [
    "BRISK",
    "Cell",
    "Matrix",
    "agent_cells",
    "cancel_cells",
    "matrix",
    "other_cells",
    "service_cells",
    "undo_cells",
]

#: a cell costs what its waits cost, so that nothing waits long
BRISK: Mapping[str, Mapping[str, str]] = {
    "times": {
        "sync_interval_s": "0.5",
        "silent_factor": "20",  # cells are about deaths; what a slow machine makes of a cut is no silence
        "sync_spacing_s": "0.02",
        "join_window_s": "0.005",
        "owner_lease_s": "1",
        "reap_interval_s": "0.2",
        "rpc_timeout_s": "2",
        "usage_interval_s": "0.5",
        "delete_budget_s": "30",
        "stop_timeout_s": "2",
        **RECLAIM,
    },
    "fake": {"latency_max_s": "0"},
}
#: the point of a process that is killed while the agent is held somewhere
AGENT, CONDUCTOR, SCHEDULER, GUEST = "agent", "conductor", "scheduler", "guest"
#: commits of a conductor that a verb passes in any case
_COMMITS = (Commit.ACTION, Commit.BEGIN, Commit.FINISH)
_PLACED_COMMITS = (Commit.DISPATCH, Commit.PERMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """*victim* dies when *action*, asked in *state*, is at *point* of the process *at*.

    ``held``: the agent waits at that point of its own meanwhile.
    ``cancel``: nobody dies there, but the operation is cancelled, and the agent dies at ``undo`` if that is named.
    """

    action: Action
    state: VmState
    at: str
    point: str
    victim: str = ""
    held: str = ""
    cancel: bool = False
    undo: str = ""

    def __str__(self) -> str:
        what = f"cancel{self.undo and ' ' + self.undo}" if self.cancel else f"{self.victim} dies"
        return f"{self.action} {self.state} {self.at}:{self.point} {what}"


def agent_cells(*, every: bool = False) -> list[Cell]:
    """The agent dies, at each of its points."""
    return [
        Cell(action=action, state=state, at=AGENT, point=point, victim=AGENT)
        for action, steps in STEPS.items()
        for state in states_of(action, every=every)
        if VERBS[action].places or state is not VmState.SHELVED_OFFLOADED  # no host has anything of it
        for point in points_of({action: steps})
    ]


def service_cells() -> list[Cell]:
    """A conductor dies around each commit of a verb, the scheduler around each claim."""
    cells = []
    for action in STEPS:
        places = VERBS[action].places
        commits = [(CONDUCTOR, commit) for commit in (*_COMMITS, *(_PLACED_COMMITS if places else ()))]
        if action is Action.BUILD:
            commits[0] = (CONDUCTOR, Commit.CREATE)
        if places:
            commits.append((SCHEDULER, CLAIM))
        [state] = states_of(action, every=False)
        # An order that is over at once is not told to have begun.
        held = f"{action}.{STEPS[action][0].name}.done"
        cells += [
            Cell(
                action=action,
                state=state,
                at=service,
                point=point,
                victim=service,
                held=held if name is Commit.BEGIN else "",
            )
            for service, name in commits
            for point in (name, f"{name}.done")
        ]
    return cells


def other_cells(victims: Sequence[str], *, every: bool = True) -> list[Cell]:
    """Another part dies while the agent is at a point: at each one, or in the middle of each verb."""
    cells = []
    for action, steps in STEPS.items():
        points = points_of({action: steps})
        chosen = points if every else points[len(points) // 2 : len(points) // 2 + 1]
        [state] = states_of(action, every=False)
        cells += [
            Cell(action=action, state=state, at=AGENT, point=point, victim=victim)
            for victim in victims
            for point in chosen
        ]
    return cells


def cancel_cells() -> list[Cell]:
    """The operation is cancelled while the agent is at a point."""
    return [
        Cell(action=cell.action, state=cell.state, at=AGENT, point=cell.point, cancel=True)
        for cell in agent_cells()
        if not VERBS[cell.action].supersedes
    ]


def undo_cells() -> list[Cell]:
    """The agent dies before and after it takes back what a cancelled operation has done."""
    return [
        Cell(action=action, state=state, at=AGENT, point=f"{action}.{step.name}.done", cancel=True, undo=undo)
        for action, steps in STEPS.items()
        for state in states_of(action, every=False)
        for step in steps
        if step.undo is not None and not VERBS[action].supersedes
        for undo in (f"{action}.undo", f"{action}.undo.done")
    ]


class Matrix:
    """A lab whose own processes come back by themselves, and an instance that goes through cells."""

    def __init__(self, lab: Fleet, points: Mapping[str, Path]) -> None:
        self.fleet = lab
        self.subject = Subject(lab)
        self._points = points

    def run(self, cell: Cell) -> Operation:
        """One cell to its end; the operation as it ended."""
        self.subject.begin_in(cell.state)
        with self._armed():
            self._arm(cell.at, cell.point, KILL if cell.victim == cell.at else HOLD)
            if cell.held:
                self._arm(AGENT, cell.held, HOLD)
            operation_id = self.subject.ask(cell.action)
            where = self._reached(cell)
            if cell.cancel:
                self._cancel(cell, where, operation_id)
            elif cell.victim != cell.at:
                self._kill(cell.victim, where, self.subject.uuid)
            self._disarm()
            ended = self.subject.wait(operation_id)
        self._judge(cell, ended)
        promise.at_rest(self.fleet)
        return ended

    # a cell's parts

    @contextmanager
    def _armed(self) -> Iterator[None]:
        """Nothing is asked of any process afterwards, whatever happened."""
        try:
            yield
        finally:
            self._disarm()
            for path in self._files():
                path.unlink(missing_ok=True)

    def _arm(self, kind: str, point: str, what: str) -> None:
        """In all processes of the kind: nobody knows where the verb is done."""
        for name in self._processes(kind):
            (self._points[name] / point).write_text(what)

    def _disarm(self) -> None:
        """Whoever is held goes on, and nobody else is held. A death that was asked for besides may still come."""
        for path in self._files():
            with suppress(FileNotFoundError):  # whoever dies takes its own away
                if path.name.endswith(HELD) or path.read_text() == HOLD:
                    path.unlink()

    def _files(self) -> list[Path]:
        return [path for directory in self._points.values() for path in directory.iterdir()]

    def _processes(self, kind: str) -> list[str]:
        return [name for name in self._points if name.rpartition(".")[2].rstrip("0123456789") == kind]

    def _reached(self, cell: Cell) -> str:
        """The process that came to the point; the first one."""

        def look() -> str:
            for name in self._processes(cell.at):
                if (self._points[name] / f"{cell.point}{HELD}").exists():
                    return name
            return ""

        return self.fleet.until(look, f"somebody at {cell.point}")

    def _cancel(self, cell: Cell, where: str, operation_id: str) -> None:
        """While it is held; it goes on when its agent has heard."""
        if cell.undo:
            (self._points[where] / cell.undo).write_text(KILL)
        self.fleet.patiently(lambda: self.fleet.api.operation_cancel(self.fleet.context(), operation_id))
        self._heard(where.partition(".")[0])

    def _heard(self, host: str) -> None:
        """Wait until its agent knows what is in the database now.

        The first sync to be seen may have been answered before, the next one has the answer, the one after that is
        sent when the answer was read.
        """
        seen = 0
        for _ in range(3):
            [(seen,)] = self.fleet.until_row("SELECT seq FROM host WHERE name = %s AND seq > %s", host, seen)

    def _kill(self, victim: str, where: str, uuid: str) -> None:
        host = where.partition(".")[0]
        if victim == GUEST:
            kill_guest(self.fleet, host, uuid)
        elif victim in self._points:
            self._kill_child(victim)
        else:
            part = f"{host}.{victim}" if victim in ("libvirtd", "virtlogd", "link") else victim
            self.fleet.lab.kill(part)
            self.fleet.lab.up()

    def _kill_child(self, name: str) -> None:
        """The process itself; what stands over it starts the next one."""
        [over] = [part for part in self.fleet.lab.status() if part.name == name]
        children = Path(f"/proc/{over.pid}/task/{over.pid}/children").read_text().split()
        os.kill(int(children[0]), program.KILL)

    # what must have come of it

    def _judge(self, cell: Cell, ended: Operation) -> None:
        after = self.subject.vm_state if self.subject.uuid else VmState.DELETED
        told = f"{ended.state} {ended.error}, then {after}"
        done, left = {end_of(cell.action, cell.state)}, {cell.state, VERBS[cell.action].on_failure or cell.state}
        if cell.cancel:  # a host may show already what had come too far, or half of it
            left |= done | {VmState.STOPPED}
        if cell.victim == GUEST:  # what was shown after the verb, and what could not be done with it
            done.add(VmState.STOPPED)
            left |= {VmState.STOPPED, VmState.ERROR}
        if ended.state is OperationState.SUCCEEDED:
            assert after in done, told
            return
        assert ended.error is not None, told
        assert ended.error.code in _codes(), told
        assert after in left, told
        if ended.state is OperationState.CANCELLED:
            assert cell.cancel, told
        else:
            stamped = VERBS[cell.action].evidence is Evidence.STAMP and ended.error.code == "OutcomeUnknown"
            assert cell.victim == GUEST or stamped, told


def _codes() -> set[str]:
    """Of every typed error."""
    kinds: list[type[errors.DroverError]] = [errors.DroverError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code for kind in kinds[1:]}


@contextmanager
def matrix(driver: Driver, *, hosts: int = 2) -> Iterator[Matrix]:
    """A lab of its own."""
    with fleet(driver, settings=BRISK, hosts=hosts) as made:
        names = {CONDUCTOR: CONDUCTOR, SCHEDULER: SCHEDULER}
        names |= {f"{host}.{AGENT}": AGENT for host in made.lab.spec().host_names()}
        points = nursery.supervise(made.lab, names, made.runtime)
        made.lab.up()  # until all answer again
        yield Matrix(made, points)

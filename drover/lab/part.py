"""The running parts of a lab by name: started, found, ended. No supervisor stands over them.

A part that is killed stays dead until somebody starts it again, as on a machine without one.  Names are
``conductor``, ``scheduler``, ``relay``, ``fabric``, ``host1`` (the machine itself) and ``host1.agent``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from drover import errors
from drover.lab.layout import Layout
from drover.runtime import Runtime, program
from drover.runtime.program import Program

__all__ = ["PATIENCE_S", "Parts", "log_end", "tail", "together", "wait_until"]

#: seconds that anything in a lab may take to get ready on a loaded machine
PATIENCE_S = 120.0
#: seconds between two looks at what has no event to wait for (another process's file or socket)
LOOK_S = 0.05
_DAEMONS = ("libvirtd", "virtlogd")
#: looks in a row that find nothing of a part, before it counts as ended
_MISSED = 5


class Parts:
    """Everything of one lab that was started by :meth:`start`."""

    def __init__(self, layout: Layout, runtime: Runtime) -> None:
        self._layout = layout
        self._runtime = runtime
        self._mark = f"lab:{layout.directory}:"

    def running(self) -> dict[str, Program]:
        """The parts that live, by name."""
        found: dict[str, Program] = {}
        for one in program.find(self._mark):
            name = self._name(one)
            if one.name.startswith(_program_of(name)):
                found.setdefault(name, one)  # the oldest; the others are its children
        return found

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a part that does not run; the caller waits for what shows that it is ready."""
        log = self._layout.log(name)
        program.start(argv, mark=self._mark + name, log=log, environment={**os.environ, **(environment or {})})

    def await_running(self, name: str) -> Program:
        """The part that was just started.

        :raises errors.LabFailed: it does not appear.
        """
        self.await_ready(name, lambda: name in self.running(), f"{name} to start")
        return self.running()[name]

    def await_ready(self, name: str, ready: Callable[[], bool], what: str, *, look_s: float = LOOK_S) -> None:
        """Wait for what shows that the part *name* is ready, but not for a part that has ended.

        :raises errors.LabFailed: it ended, or did not come so far; with the end of its log.
        """
        log = self._layout.log(name)
        missed = 0

        def settled() -> bool:
            nonlocal missed
            # A process between two programs (exec) shows no environment for a moment, hence the second look.
            missed = 0 if any(self._name(one) == name for one in program.find(self._mark + name)) else missed + 1
            return ready() or missed == _MISSED

        wait_until(self._runtime, settled, what, log, look_s=look_s)
        if not ready():
            raise errors.LabFailed(reason=f"{name} ended while the lab waited for {what}: {log_end(log)}")

    def end(self, names: Iterable[str], *, grace_s: float = 0.0) -> None:
        """End parts with all their children; a host's name stands for all that runs on it. Absent ones are fine."""
        wanted = set(names)
        program.end(
            (one for one in program.find(self._mark) if wanted & {self._name(one), self._name(one).partition(".")[0]}),
            grace_s=grace_s,
        )

    def end_all(self) -> None:
        """End everything that carries this lab's mark, whatever it is."""
        program.end_all(lambda: program.find(self._mark))

    def _name(self, one: Program) -> str:
        return one.mark.removeprefix(self._mark)


def _program_of(name: str) -> str:
    """Tells a part from what is wrapped around it (``nsenter``) and from what it leaves behind (``dnsmasq``)."""
    last = name.rpartition(".")[2]
    return last if last in _DAEMONS else "python"


def wait_until(
    runtime: Runtime, condition: Callable[[], bool], what: str, log: Path, *, look_s: float = LOOK_S
) -> None:
    """Wait for a condition that nothing announces.

    :raises errors.LabFailed: it did not come true; with the end of *log*.
    """
    deadline = runtime.clock.monotonic() + PATIENCE_S
    while not condition():
        if runtime.clock.monotonic() > deadline:
            raise errors.LabFailed(reason=f"waited {PATIENCE_S:.0f} s for {what}: {log_end(log)}")
        runtime.sleep(look_s)


def log_end(log: Path) -> str:
    """The last words of a log in one line, and where it is."""
    return " | ".join([*tail(log, 5), f"see {log}"])


def tail(log: Path, count: int) -> list[str]:
    """The last lines of a log, none when it is not there."""
    return log.read_text(errors="replace").splitlines()[-count:] if log.is_file() else []


def together(runtime: Runtime, works: Sequence[Callable[[], None]]) -> None:
    """Do all at the same time, wait for all, then raise the first failure."""
    failures: list[Exception] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001  raised again below, when the others have ended
            failures.append(exc)

    tasks = [runtime.spawn("lab", lambda work=work: guarded(work)) for work in works]  # type: ignore[misc]
    for task in tasks:
        task.join()
    if failures:
        raise failures[0]

"""Programs that outlive the one who started them, found again by a mark in their environment.

A pid file is written after the fork, is lost when its writer is killed in between, and names a stranger later.
The environment a program was started with stands in ``/proc`` from its first instruction to its last.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drover.runtime import proc

__all__ = ["CONT", "KILL", "STOP", "TERM", "VARIABLE", "Program", "end", "end_all", "find", "send", "start", "wait"]

#: environment variable that carries the mark
VARIABLE = "DROVER_MARK"

KILL = int(signal.SIGKILL)
TERM = int(signal.SIGTERM)
STOP = int(signal.SIGSTOP)
CONT = int(signal.SIGCONT)

#: indexes into /proc/PID/stat behind the command name, which may hold anything
_STATE, _PARENT, _STARTED = 0, 1, 19
#: seconds that a killed process may take to go; more means it is stuck in the kernel
_DEATH_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One live process. ``started_ticks`` tells it from a later one of the same pid."""

    pid: int
    parent: int
    started_ticks: int  # since boot
    name: str  # of its executable, 15 characters at most
    state: str  # R, S, D, T …
    mark: str


def start(
    argv: Sequence[str],
    *,
    mark: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Start *argv* in a session of its own, as no child of ours, its output appended to *log*.

    The caller waits for what the program does, not for its pid; :func:`find` knows it by *mark*.
    """
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**(os.environ if environment is None else environment), VARIABLE: mark},
            cwd="/",
            check=True,
        )


def find(prefix: str) -> list[Program]:
    """Live processes whose mark begins with *prefix*, oldest first; zombies are not alive.

    Sees the processes of this user, and everyone's when called by root.
    """
    wanted = f"{VARIABLE}={prefix}".encode()
    found: list[Program] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = proc.environment(entry)
            # Nearly every process ends here, and this is asked often while a lab starts.
            if wanted not in environment:
                continue
            mark = next((item for item in environment.split(b"\0") if item.startswith(wanted)), None)
            if mark is not None:
                found.append(_read(int(entry.name), os.fsdecode(mark.partition(b"=")[2])))
        except OSError:
            continue  # ended meanwhile, or not ours to see
    return sorted(found, key=lambda program: (program.started_ticks, program.pid))


def send(program: Program, number: int) -> bool:
    """Send a signal; ``False`` when the program has ended. Never reaches another process of the same pid."""
    handle = _open(program)
    if handle is None:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def wait(program: Program, timeout_s: float) -> bool:
    """Wait for the end, and with PID 1 of a pid namespace for that of all in it; ``False`` after *timeout_s*."""
    handle = _open(program)
    if handle is None:
        return True
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(handle)


def end(programs: Iterable[Program], *, grace_s: float = 0.0) -> None:
    """End them all: SIGTERM where *grace_s* is given, then SIGKILL for what is left; returns when they have ended.

    :raises TimeoutError: one is still there long after SIGKILL.
    """
    left = list(programs)
    if grace_s > 0:
        for program in left:
            send(program, TERM)
            send(program, CONT)  # a stopped process would sleep through SIGTERM
        left = [program for program in left if not wait(program, grace_s)]
    for program in left:
        send(program, KILL)
    for program in left:
        if not wait(program, _DEATH_S):
            raise TimeoutError(f"process {program.pid} ({program.name}) does not end")


def end_all(found: Callable[[], Sequence[Program]]) -> None:
    """Kill what *found* finds until it finds nothing: what one started while it was looked for goes too.

    :raises TimeoutError: see :func:`end`.
    """
    while left := found():
        end(left)


def _open(program: Program) -> int | None:
    """A pidfd of the program; ``None`` when it has ended and was reaped."""
    try:
        handle = os.pidfd_open(program.pid)
    except ProcessLookupError:
        return None
    # Looked at after the open: from here on the pid cannot become another's behind our back.
    try:
        if _read(program.pid, program.mark).started_ticks == program.started_ticks:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _read(pid: int, mark: str) -> Program:
    """:raises OSError: no such process, or only a zombie of it."""
    head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    fields = tail.split()
    if fields[_STATE] in "ZX":
        raise ProcessLookupError(pid)
    return Program(
        pid=pid,
        parent=int(fields[_PARENT]),
        started_ticks=int(fields[_STARTED]),
        name=head.partition("(")[2],
        state=fields[_STATE],
        mark=mark,
    )

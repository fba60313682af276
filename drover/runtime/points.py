"""Named places in a process where a test may end or hold it: one call, which does nothing in production.

A process that was started with ``DROVER_POINTS=<directory>`` looks there, whenever it comes to a point, for a file
of the point's name, and does what the file says: ``kill`` ends the process by SIGKILL, ``hold`` keeps the task there
until the test lets it go on.  The file is renamed first, so that it is done once, whoever comes there again, and the
test sees that somebody came.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from drover.runtime.runtime import Runtime

__all__ = ["HELD", "HOLD", "KILL", "POINTS", "NoPoints", "PointFiles", "Points", "from_environment"]

#: the environment variable
POINTS = "DROVER_POINTS"
KILL, HOLD = "kill", "hold"
#: behind the point's name once somebody came; who is held there waits until this file is gone
HELD = ".hit"
_LOOK_S = 0.01


class Points(Protocol):
    def hit(self, name: str) -> None:
        """The process is at *name*. May raise a BaseException that is no Exception: the incarnation is dead."""


class NoPoints:
    """Production's."""

    def hit(self, name: str) -> None:
        """Go on."""


class PointFiles:
    """Does what the files of *directory* say.

    :param end: does not return; tests give their own.
    """

    def __init__(self, runtime: Runtime, directory: Path, end: Callable[[], None]) -> None:
        self._runtime = runtime
        self._directory = directory
        self._end = end

    def hit(self, name: str) -> None:
        asked, mine = self._directory / name, self._directory / f"{name}{HELD}"
        try:
            what = asked.read_text()
            asked.rename(mine)
        except FileNotFoundError:
            return
        if what == KILL:
            self._end()
        while mine.exists():
            self._runtime.sleep(_LOOK_S)


def from_environment(runtime: Runtime, environment: Mapping[str, str]) -> Points:
    """What *environment* asks of this process."""
    directory = environment.get(POINTS, "")
    return PointFiles(runtime, Path(directory), _kill) if directory else NoPoints()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

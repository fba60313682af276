"""A process that dies where it was asked to, once, or waits there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from drover.runtime.points import HELD, HOLD, KILL, POINTS, NoPoints, PointFiles, from_environment
from drover.runtime.threads import ThreadRuntime

PROGRAM = """
import os
from drover.runtime.points import from_environment
from drover.runtime.threads import ThreadRuntime
points = from_environment(ThreadRuntime(), os.environ)
for name in ("a.x", "a.x.done", "a.y", "a.x"):
    print(name, flush=True)
    points.hit(name)
"""
ALL = ["a.x", "a.x.done", "a.y", "a.x"]


def run(directory: Path) -> tuple[int, list[str]]:
    """Exit status, and the points that were reached."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, POINTS: str(directory)},
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
        text=True,
    )
    return done.returncode, done.stdout.split()


def test_it_dies_there_and_only_once(tmp_path: Path) -> None:
    for point, reached in (("a.x", 1), ("a.x.done", 2), ("a.y", 3)):
        (tmp_path / point).write_text(KILL)
        assert run(tmp_path) == (-signal.SIGKILL, ALL[:reached])
        assert (tmp_path / f"{point}{HELD}").exists()
        assert run(tmp_path) == (0, ALL)


def test_it_waits_there_until_it_may_go_on(tmp_path: Path) -> None:
    runtime = ThreadRuntime()
    points = PointFiles(runtime, tmp_path, lambda: None)
    (tmp_path / "a.x").write_text(HOLD)
    task = runtime.spawn("held", lambda: points.hit("a.x"))
    held = tmp_path / f"a.x{HELD}"
    while not held.exists():
        runtime.sleep(0.001)
    points.hit("a.x")  # others pass
    assert not task.join(0.1)
    held.unlink()
    assert task.join(10.0)


def test_nobody_asked(tmp_path: Path) -> None:
    assert isinstance(from_environment(ThreadRuntime(), {}), NoPoints)
    assert run(tmp_path / "not-there") == (0, ALL)

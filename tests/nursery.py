"""A part of a lab that is there again at once when it dies, as under systemd: ``python -m tests.nursery agent …``.

A new process of Drover takes a second of CPU for its imports.  This one has imported everything, and forks itself:
its child is a process of its own, with nothing of the one before it but code, and is killed like any other.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from drover.lab.lab import Lab
from drover.lab.namespace_host import NamespaceHosts
from drover.lab.part import Parts
from drover.lab.spec import Driver
from drover.runtime.points import POINTS
from drover.runtime.threads import ThreadRuntime

__all__ = ["supervise"]

_PR_SET_PDEATHSIG = 1
#: seconds between the start of one child and that of the next, so that one that cannot start is not all there is
_LEAST_S = 0.05
#: what a process would import on its way
_LATE = {
    "agent": ("agent.cmd", "drover.rpc.transport", "agent.virt.fake", "agent.virt.libvirt"),
    "conductor": ("conductor.cmd", "drover.rpc.transport", "drover.db.postgresql", "psycopg"),
    "scheduler": ("scheduler.cmd", "drover.rpc.transport", "drover.db.postgresql", "psycopg"),
}


def supervise(lab: Lab, names: Mapping[str, str], runtime: ThreadRuntime) -> dict[str, Path]:
    """End these parts of a lab (``host1.agent``) and keep them alive from now on.

    :param names: of parts, with their packages (``agent``).
    :return: the directory of each part's points.
    """
    spec, parts = lab.spec(), Parts(lab.layout, runtime)
    parts.end(names, grace_s=10.0)
    root = str(Path(__file__).resolve().parent.parent)
    points = {name: lab.layout.directory / "points" / name for name in names}
    for name, package in names.items():
        points[name].mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "tests.nursery", package, "--config-file", str(lab.layout.config(name))]
        environment = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": root, POINTS: str(points[name])}
        if spec.driver is Driver.LIBVIRT and package == "agent":
            argv = NamespaceHosts(spec, lab.layout, parts, runtime).command(name.partition(".")[0], argv)
        parts.start(name, argv, environment)
    return points


def main() -> int:
    """Until SIGTERM, which it hands on."""
    package = sys.argv.pop(1)
    module = importlib.import_module(f"{package}.__main__")
    for late in _LATE[package]:
        importlib.import_module(late)
    assert threading.active_count() == 1, "a fork would lose the others"
    while True:
        began_s = time.monotonic()
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            return int(module.main())
        signal.signal(signal.SIGTERM, partial(_end, child))
        os.waitpid(child, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(max(0.0, began_s + _LEAST_S - time.monotonic()))


def _end(child: int, number: int, _: FrameType | None) -> None:
    os.kill(child, number)
    os.waitpid(child, 0)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

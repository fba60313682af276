"""Programs found by their mark, in namespaces and out, and ended for good."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drover.runtime import program
from drover.runtime.program import Program
from drover.runtime.threads import ThreadRuntime
from tests.needs import require

SLEEP = ["sleep", "1000"]


@pytest.fixture
def mark() -> Iterator[str]:
    made = f"test:{uuid.uuid4()}"
    yield made
    program.end(program.find(made))


@pytest.fixture
def found(mark: str, runtime: ThreadRuntime) -> Callable[[str], list[Program]]:
    """The programs of a name, once there are any."""

    def wait(name: str) -> list[Program]:
        for _ in range(3000):
            if those := [one for one in program.find(mark) if one.name == name]:
                return those
            runtime.sleep(0.01)
        raise AssertionError(f"no {name}")

    return wait


def test_a_program_outlives_its_starter_and_is_no_child_of_it(
    mark: str, tmp_path: Path, found: Callable[[str], list[Program]]
) -> None:
    script = (
        "import sys; from pathlib import Path; from drover.runtime import program\n"
        f"program.start({SLEEP!r}, mark=sys.argv[1], log=Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", script, mark, str(tmp_path / "log")], check=True, timeout=60)
    (one,) = found("sleep")
    assert one.mark == mark
    assert one.parent != os.getpid()
    program.end([one])
    assert program.find(mark) == []


def test_a_recycled_pid_is_left_alone(mark: str, tmp_path: Path, found: Callable[[str], list[Program]]) -> None:
    program.start(SLEEP, mark=mark, log=tmp_path / "log")
    (one,) = found("sleep")
    former = replace(one, started_ticks=one.started_ticks - 1)
    assert not program.send(former, program.KILL)
    assert program.wait(former, 0.0)
    program.end([former], grace_s=0.01)
    assert [(left.pid, left.started_ticks) for left in program.find(mark)] == [(one.pid, one.started_ticks)]


def test_who_does_not_heed_a_request_is_killed(
    mark: str, tmp_path: Path, found: Callable[[str], list[Program]], runtime: ThreadRuntime
) -> None:
    ready = tmp_path / "ready"
    program.start(["bash", "-c", f"trap '' TERM; touch {ready}; exec sleep 1000"], mark=mark, log=tmp_path / "log")
    found("sleep")
    assert ready.exists()
    program.end(program.find(mark), grace_s=0.1)
    assert program.find(mark) == []


def test_what_is_started_meanwhile_is_ended_too(
    mark: str, tmp_path: Path, found: Callable[[str], list[Program]]
) -> None:
    program.start(["bash", "-c", "while :; do sleep 1000 & sleep 0.005; done"], mark=mark, log=tmp_path / "log")
    found("sleep")
    program.end_all(lambda: program.find(mark))
    assert program.find(mark) == []


def test_a_stopped_program_is_ended_too(mark: str, tmp_path: Path, found: Callable[[str], list[Program]]) -> None:
    program.start(SLEEP, mark=mark, log=tmp_path / "log")
    (one,) = found("sleep")
    program.send(one, program.STOP)
    program.end([one], grace_s=30.0)
    assert program.find(mark) == []


def test_with_the_first_process_of_a_pid_namespace_all_of_it_ends(
    mark: str, tmp_path: Path, found: Callable[[str], list[Program]]
) -> None:
    require("root", "netns")
    inner = "sleep 1000 & sleep 1000 & exec sleep 2000"
    program.start(["unshare", "--pid", "--fork", "--", "bash", "-c", inner], mark=mark, log=tmp_path / "log")
    sleeps = found("sleep")
    while len(sleeps) < 3:
        sleeps = found("sleep")
    first = min(sleeps, key=lambda one: (one.started_ticks, one.pid))
    assert os.readlink(f"/proc/{first.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    program.send(first, program.KILL)
    assert program.wait(first, 30.0)
    assert [one for one in program.find(mark) if one.name == "sleep"] == []


def test_a_root_that_may_not_trace_finds_the_programs_of_others(mark: str, tmp_path: Path) -> None:
    """As in a container: everything of root's but CAP_SYS_PTRACE."""
    require("root")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", *SLEEP]
    script = (
        "import sys; from pathlib import Path; from drover.runtime import program, proc\n"
        f"program.start({nobody!r}, mark=sys.argv[1], log=Path(sys.argv[2]))\n"
        "while not (those := [one for one in program.find(sys.argv[1]) if one.name == 'sleep']): pass\n"
        "assert proc.working_directory(Path(f'/proc/{those[0].pid}')) == Path('/')\n"
        "program.end(those)\n"
        "assert program.find(sys.argv[1]) == []\n"
        "open(sys.argv[2], 'a').write('still root')"
    )
    subprocess.run(
        ["setpriv", "--bounding-set=-sys_ptrace", sys.executable, "-c", script, mark, str(tmp_path / "log")],
        check=True,
        timeout=60,
    )
    assert (tmp_path / "log").read_text() == "still root"

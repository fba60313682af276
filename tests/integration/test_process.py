"""The life of a process, seen from outside: signals, drain and exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

PROGRAM = """
import signal
import sys
import threading
from drover import errors, log
from drover.runtime import process
from drover.runtime.threads import ThreadRuntime

log.setup("sample")
runtime = ThreadRuntime()
fatal = process.Fatal()
mode = sys.argv[1]

def say(word):
    sys.stdout.write(f"{word}\\n")  # in one piece: two threads speak
    sys.stdout.flush()

class Sample:
    stopped = runtime.event()

    def start(self):
        if mode == "broken":
            raise ValueError("cannot start")
        say("begun")
        if mode == "stale":
            runtime.spawn("sync", lambda: fatal(errors.StaleSession(host="h1", session=1, current=2)))
        if mode == "elsewhere":
            sys.stdin.readline()
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        if mode in ("waits", "elsewhere"):
            self.stopped.wait()

    def stop(self):
        self.stopped.set()
        say("draining")
        if mode == "stuck":
            runtime.event().wait()
        say("drained")

sys.exit(process.run(Sample(), runtime, "sample", fatal=fatal))
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, mode]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for child in started:
        child.kill()
        child.communicate()


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["plain", "waits"])
def test_a_signal_drains_and_ends_well(start: Start, mode: str, number: signal.Signals) -> None:
    child = start(mode)
    assert _line(child) == "begun"
    child.send_signal(number)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert output.split() == ["draining", "drained"]


def test_a_signal_that_does_not_wake_the_main_thread_drains_too(start: Start) -> None:
    """The kernel may give it to any thread, or to the main one just before that begins to wait."""
    child = start("elsewhere")
    assert _line(child) == "begun"
    output, errors = child.communicate("now\n", timeout=60)
    assert child.returncode == 0, errors
    assert output.split() == ["draining", "drained"]


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    child = start("stuck")
    assert _line(child) == "begun"
    child.send_signal(signal.SIGTERM)
    assert _line(child) == "draining"
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM


def test_a_fatal_error_drains_and_gives_its_exit_code(start: Start) -> None:
    child = start("stale")
    output, words = child.communicate(timeout=60)
    assert child.returncode == 4
    assert output.split() == ["begun", "draining", "drained"]
    assert "StaleSession" in words
    assert "Traceback" not in words


def test_a_start_that_fails_is_fatal(start: Start) -> None:
    child = start("broken")
    output, words = child.communicate(timeout=60)
    assert child.returncode == 1
    assert output.split() == ["draining", "drained"]
    assert "ValueError: cannot start" in words

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drover.cli import main
from drover.cli.session import Session
from tests.functional.cli.conftest import Result

ENTRY = "from drover.cli.main import main; main()"

Run = Callable[..., Result]


class Process:
    """``drover standalone`` on one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", ENTRY, "standalone", "--directory", str(self.directory)]
        self._running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._running.stdout is not None
        first = self._running.stdout.readline()
        assert first == "drover standalone is ready: 3 fake hosts\n", first + self._running.stdout.read()

    def end(self, number: signal.Signals) -> int:
        assert self._running is not None
        self._running.send_signal(number)
        status = self._running.wait(60)
        assert self._running.stdout is not None
        self._running.stdout.close()
        self._running = None
        return status

    @property
    def runs(self) -> bool:
        return self._running is not None


@pytest.fixture
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    it = Process(tmp_path_factory.mktemp("sa") / "d")
    it.start()
    yield it
    if it.runs:
        it.end(signal.SIGKILL)


@pytest.fixture
def cli(process: Process, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DROVER_CONFIG", str(process.directory / "drover.conf"))

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        status = main.run(arguments, Session())
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return run


def _prepare(cli: Run, directory: Path) -> None:
    disk = directory / "disk.raw"
    disk.write_bytes(os.urandom(5 * 1024 * 1024))  # more than one chunk
    assert cli("flavor", "create", "small", "--vcpus", "1", "--memory", "64").status == 0
    assert cli("network", "create", "lan", "--cidr", "10.20.0.0/24").status == 0
    made = cli("image", "create", "disk", "--file", str(disk), "--format", "json")
    assert made.status == 0, made.err
    assert json.loads(made.out)["status"] == "active"


CREATE = ("instance", "create", "vm", "--flavor", "small", "--image", "disk", "--network", "lan")


def test_the_whole_story(process: Process, cli: Run, tmp_path: Path) -> None:
    _prepare(cli, tmp_path)
    assert [host["up"] for host in json.loads(cli("host", "list", "--format", "json").out)] == [True] * 3

    created = cli(*CREATE, "--count", "3", "--wait", "--format", "json")
    assert created.status == 0, created.err
    rows = json.loads(created.out)
    assert len({row["host"] for row in rows}) == 3
    assert len({row["addresses"][0] for row in rows}) == 3

    assert "GUEST-READY" in cli("instance", "console-log", "vm-1").out
    assert "start" in cli("trace", "vm-1").out
    assert "chosen" in cli("why", "vm-1").out
    assert "passes" in cli("why", "vm-1", "--host", rows[0]["host"]).out
    assert "4 of 4 would be placed" in cli("schedule", "--dry-run", "--flavor", "small", "--count", "4").out
    assert json.loads(cli("capacity", "--flavor", "small", "--format", "json").out)["roomy"] == 3
    assert "0 moves over 3 hosts" in cli("rebalance", "--plan").out
    assert cli("instance", "stop", "vm-1", "vm-2", "--wait").status == 0
    assert cli("instance", "start", "vm-1", "--wait").status == 0
    assert cli("instance", "reboot", "vm-1", "--hard", "--wait").status == 0
    assert cli("instance", "delete", "vm-1", "vm-2", "vm-3", "--wait").status == 0
    assert json.loads(cli("instance", "list", "--format", "json").out) == []


def test_killed_in_the_middle_of_builds_it_goes_on(process: Process, cli: Run, tmp_path: Path) -> None:
    _prepare(cli, tmp_path)
    created = json.loads(cli(*CREATE, "--count", "20", "--format", "json").out)
    process.end(signal.SIGKILL)
    process.start()

    waited = cli("operation", "wait", *(row["operation_id"] for row in created), "--timeout", "120")
    assert waited.status == 0, waited.err
    instances = json.loads(cli("instance", "list", "--format", "json").out)
    assert {it["name"] for it in instances} == {row["name"] for row in created}
    assert {it["vm_state"] for it in instances} == {"active"}
    used = [host["used"]["vcpus"] for host in json.loads(cli("host", "list", "--format", "json").out)]
    assert sum(used) == 20


def test_a_waiting_command_survives_the_restart_with_one_effect(process: Process, cli: Run, tmp_path: Path) -> None:
    _prepare(cli, tmp_path)
    process.end(signal.SIGKILL)
    command = [sys.executable, "-c", ENTRY, *CREATE, "--count", "4", "--wait", "--timeout", "120", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        process.start()
        out, err = client.communicate(timeout=120)
        assert client.returncode == 0, err
    assert {row["state"] for row in json.loads(out)} == {"succeeded"}
    assert len(json.loads(cli("instance", "list", "--format", "json").out)) == 4


def test_it_drains_on_sigterm_and_keeps_everything(process: Process, cli: Run, tmp_path: Path) -> None:
    _prepare(cli, tmp_path)
    assert cli(*CREATE, "--wait").status == 0
    assert process.end(signal.SIGTERM) == 0
    process.start()
    assert "running" in cli("instance", "show", "vm").out


def test_a_second_process_on_the_directory_is_refused(process: Process) -> None:
    command = [sys.executable, "-c", ENTRY, "standalone", "--directory", str(process.directory)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 4
    assert second.stderr.startswith("error: DatabaseInUse: ")
    assert second.stdout == ""


def test_a_directory_with_a_path_too_long_for_a_socket(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)
    assert main.run(("standalone", "--directory", str(directory)), Session()) == 2
    assert "too long for a socket" in capsys.readouterr().err
    assert not directory.exists()


def test_a_wrong_configuration_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "drover.conf").write_text("[agent]\nbuild_pool = many\n")
    assert main.run(("standalone", "--directory", str(tmp_path)), Session()) == 2
    assert "[agent] build_pool" in capsys.readouterr().err

"""``drover burnin`` on fake hosts: it survives its faults, sees what is broken, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drover.objects.instance import InstanceFilter
from drover.rpc.context import RequestContext
from drover.states import VmState
from tests import promise
from tests.fleet import Fleet

LONG = pytest.mark.long  # CI runs half a minute of faults
#: seconds that a run may take with everything after it
LONGEST_S = 900.0


def burnin(fleet: Fleet, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and report of a run."""
    done = fleet.drover("burnin", *arguments, "--format", "json", timeout_s=LONGEST_S)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


@contextmanager
def started(fleet: Fleet, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A run under way, with instances of its own that are active."""
    drover = str(Path(sys.executable).with_name("drover"))
    # Tests that run in the background of a shell ignore Ctrl-C, and so would their children.
    command = ["env", "--default-signal=INT", drover, "burnin", "--minutes", "10", "--seed", str(seed)]
    environment = {**os.environ, "DROVER_CONFIG": str(fleet.lab.config_file)}
    run = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        fleet.until(lambda: [it for it in instances(fleet, seed) if it.vm_state is VmState.ACTIVE], "an instance")
        yield run
    finally:
        run.kill()
        run.communicate()


def instances(fleet: Fleet, seed: int) -> tuple[Any, ...]:
    ctx = RequestContext(request_id="req-test", project_id=f"burnin-{seed}")
    return fleet.patiently(lambda: fleet.api.instance_list(ctx, InstanceFilter())).instances


def nothing_is_left(fleet: Fleet, seed: int) -> None:
    promise.empty(fleet)
    assert fleet.rows("SELECT name FROM flavor WHERE name = %s", f"burnin-{seed}") == []
    assert fleet.rows("SELECT name FROM image WHERE deleted_at IS NULL AND name LIKE %s", f"burnin-{seed}-%") == []


@pytest.mark.timeout(LONGEST_S + 60)
def test_half_a_minute_of_faults(fake: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    status, report = burnin(fake, "--minutes", "0.5", "--seed", "11", "--faults", "--report", str(file))
    assert report["violations"] == []
    assert status == 0
    assert report["operations"] >= 15
    assert sum(report["faults"].values()) >= 3
    assert report["looks"] > 0
    assert json.loads(file.read_text()) == report
    nothing_is_left(fake, 11)


@LONG
@pytest.mark.timeout(LONGEST_S + 60)
def test_a_guest_that_runs_twice_is_seen(fake: Fleet) -> None:
    with started(fake, 12) as run:
        _double_a_guest(fake)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=LONGEST_S)
    assert "it runs more than once" in out
    assert run.returncode == 130
    nothing_is_left(fake, 12)


def _double_a_guest(fleet: Fleet) -> None:
    """On another host, for as long as two looks take."""
    guest = next(guest for guest in promise.guests(fleet) if guest.running)
    stores = {host: fleet.lab.layout.host(host) / "agent/fake/guests" for host in fleet.lab.spec().host_names()}
    lines = stores.pop(guest.host).read_text().splitlines()
    copied = next(line for line in reversed(lines) if guest.uuid in line and '"running"' in line)
    other = next(iter(stores.values()))
    with other.open("a") as file:
        file.write(copied + "\n")
    fleet.runtime.sleep(5.0)  # looks are a second apart
    with other.open("a") as file:
        file.write(json.dumps({"deleted": guest.uuid}) + "\n")


@LONG
@pytest.mark.timeout(LONGEST_S + 60)
def test_an_interrupted_run_leaves_nothing(fake: Fleet) -> None:
    with started(fake, 13) as run:
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=LONGEST_S)
    assert run.returncode == 130
    assert "cut short" in out
    nothing_is_left(fake, 13)


@LONG
@pytest.mark.timeout(LONGEST_S + 60)
def test_what_a_killed_run_left_is_cleaned_by_its_seed(fake: Fleet) -> None:
    with started(fake, 14) as run:
        run.kill()
        run.wait()
    again = fake.drover("burnin", "--minutes", "1", "--seed", "14")
    assert again.returncode == 2
    assert "drover burnin --clean 14" in again.stderr
    cleaned = fake.drover("burnin", "--clean", "14", timeout_s=LONGEST_S)
    assert cleaned.returncode == 0, cleaned.stderr
    nothing_is_left(fake, 14)


def test_faults_are_for_labs(fake: Fleet, tmp_path: Path) -> None:
    elsewhere = tmp_path / "drover.conf"
    elsewhere.write_text(fake.lab.config_file.read_text())
    refused = fake.drover("burnin", "--faults", "--config-file", str(elsewhere))
    assert refused.returncode == 2
    assert "lab" in refused.stderr

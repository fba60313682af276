"""A whole lab with fake hosts: real services, no root needed, everything may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drover import errors
from drover.conf import load
from drover.conf.bus import BusSettings
from drover.lab.lab import Lab
from drover.lab.service import Services
from drover.lab.spec import Driver, LabSpec, save
from drover.objects.host import Host
from drover.rpc import conductor as conductor_rpc
from drover.rpc.connect import connect
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.runtime import program
from drover.runtime.threads import ThreadRuntime
from tests.integration.lab import world
from tests.needs import require

SPEC = LabSpec(hosts=2, driver=Driver.FAKE, settings={"times": {"sync_interval_s": "1"}})
ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-c", "from drover.cli.main import main; main()", "lab"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require("rabbitmq", "postgresql")
    with world.short_directory() as directory:
        made = Lab(directory, ThreadRuntime())
        try:
            made.up(SPEC)
            yield made
        finally:
            made.down()
        assert world.processes(directory) == {}
        assert not directory.exists()


def hosts(lab: Lab, runtime: ThreadRuntime) -> dict[str, Host]:
    bus = connect(runtime, load([str(lab.config_file)]).get(BusSettings), "test")
    try:
        api = client(conductor_rpc.CONTRACT, bus)
        return {host.name: host for host in api.host_list(RequestContext(request_id="req-test"))}
    finally:
        bus.close()


def states(lab: Lab) -> dict[str, str]:
    return {part.name: part.state for part in lab.status()}


def test_up_means_that_every_host_has_registered(lab: Lab, runtime: ThreadRuntime) -> None:
    found = hosts(lab, runtime)
    assert sorted(found) == ["host1", "host2"]
    assert all(host.up and host.inventory.driver == "fake" for host in found.values())
    assert found["host1"].machine_id != found["host2"].machine_id
    assert set(states(lab).values()) == {"up"}


@pytest.mark.parametrize("part", ["conductor", "scheduler", "host1.agent", "host1.link", "rabbitmq", "postgresql"])
def test_what_is_killed_stays_dead_until_up(lab: Lab, runtime: ThreadRuntime, part: str) -> None:
    lab.kill(part)
    assert states(lab)[part] == "down"
    lab.up()
    assert set(states(lab).values()) == {"up"}
    while not all(host.up for host in hosts(lab, runtime).values()):
        runtime.sleep(0.1)


def test_a_crashed_host_boots_as_the_same_machine(lab: Lab, runtime: ThreadRuntime) -> None:
    before = hosts(lab, runtime)["host2"]
    lab.crash("host2")
    assert states(lab)["host2.agent"] == "down"
    lab.boot("host2")
    while (after := hosts(lab, runtime)["host2"]).session == before.session:
        runtime.sleep(0.1)
    assert (after.host_uuid, after.machine_id) == (before.host_uuid, before.machine_id)
    assert after.boot_id != before.boot_id


def test_a_cut_host_falls_silent_and_comes_back(lab: Lab, runtime: ThreadRuntime) -> None:
    lab.cut("host1")
    try:
        assert (states(lab)["host1.link"], states(lab)["host2.link"]) == ("cut", "up")
        while hosts(lab, runtime)["host1"].up:
            runtime.sleep(0.1)
        assert hosts(lab, runtime)["host2"].up
    finally:
        lab.heal("host1")
    while not hosts(lab, runtime)["host1"].up:
        runtime.sleep(0.1)


def test_restart_ends_in_good_order_and_starts_again(lab: Lab) -> None:
    before = {part.name: part.pid for part in lab.status()}
    lab.restart("scheduler")
    after = {part.name: part.pid for part in lab.status()}
    assert {name for name in before if before[name] != after[name]} == {"scheduler"}
    assert "stopped" in lab.layout.log("scheduler").read_text()


def test_fake_hosts_have_nothing_to_run_on(lab: Lab) -> None:
    for host in ("host1", "host9", "fabric"):
        with pytest.raises(errors.LabFailed, match="fake"):
            lab.run(host, ["true"])
    with pytest.raises(errors.LabFailed, match="fake"):
        lab.uri("host1")
    with pytest.raises(errors.HostNotFound):
        lab.uri("host9")


def test_what_is_no_part_is_neither_killed_nor_restarted(lab: Lab) -> None:
    for change in (lab.kill, lab.restart):
        with pytest.raises(errors.NotFound, match="no part of the lab 'nothing'"):
            change("nothing")


@pytest.mark.parametrize("moment", [0.3, 1.5, 4.0])
def test_down_after_an_up_that_was_killed(moment: float, runtime: ThreadRuntime) -> None:
    require("rabbitmq", "postgresql")
    with world.short_directory() as directory:
        words = ["up", "--driver", "fake", "--hosts", "1", "--directory", str(directory)]
        with subprocess.Popen([*COMMAND, *words], stderr=subprocess.DEVNULL) as up:
            runtime.sleep(moment)  # wherever it is by now: any instant must do
            up.kill()
        for _ in range(2):
            subprocess.run([*COMMAND, "down", "--directory", str(directory)], check=True, timeout=120)
            assert world.processes(directory) == {}
            assert not directory.exists()


def test_a_directory_of_something_else_is_left_alone(runtime: ThreadRuntime) -> None:
    with tempfile.TemporaryDirectory() as name:  # short, as a lab's has to be
        directory = Path(name)
        (directory / "thesis.tex").write_text("precious")
        lab = Lab(directory, runtime)
        for change in (lab.down, lambda: lab.up(LabSpec(hosts=1, driver=Driver.FAKE))):
            with pytest.raises(errors.BadInput, match="no lab and not empty"):
                change()
        assert [(entry.name, entry.read_text()) for entry in directory.iterdir()] == [("thesis.tex", "precious")]


def test_down_ends_what_a_killed_down_began(tmp_path: Path, runtime: ThreadRuntime) -> None:
    directory = tmp_path / "l"
    (directory / "hosts" / "host1").mkdir(parents=True)
    lab = Lab(directory, runtime)
    save(LabSpec(hosts=1, driver=Driver.FAKE, first_port=20000), lab.layout)
    outside = tmp_path / "outside"
    outside.mkdir()
    (directory / "link").symlink_to(outside)
    lab.down()
    assert (directory.exists(), outside.exists()) == (False, True)
    directory.mkdir()
    (directory / "lab.new").write_text("{")  # as an up leaves it that is killed at its first step
    lab.down()
    assert not directory.exists()


def test_down_after_every_part_was_killed(runtime: ThreadRuntime) -> None:
    require("rabbitmq", "postgresql")
    with world.short_directory() as directory:
        lab = Lab(directory, runtime)
        try:
            lab.up(LabSpec(hosts=1, driver=Driver.FAKE))
            for part in lab.status():
                lab.kill(part.name)
        finally:
            lab.down()
        assert world.processes(directory) == {}
        assert not directory.exists()


def test_a_part_that_ends_at_once_is_told_with_its_last_words(runtime: ThreadRuntime) -> None:
    require("rabbitmq", "postgresql")
    with world.short_directory() as directory:
        lab = Lab(directory, runtime)
        wrong = LabSpec(hosts=1, driver=Driver.FAKE, settings={"agent": {"build_pool": "none"}})
        try:
            with pytest.raises(errors.LabFailed, match="build_pool"):
                lab.up(wrong)
        finally:
            lab.down()


def test_nobody_waits_for_a_part_that_died_before_it_was_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    start_missing = Services.start_missing

    def and_then_it_dies(services: Services) -> tuple[str, ...]:
        started = start_missing(services)
        lab.kill("conductor")
        return started

    with monkeypatch.context() as patched:
        patched.setattr(Services, "start_missing", and_then_it_dies)
        with pytest.raises(errors.LabFailed, match="conductor ended"):
            lab.up()
    lab.up()


def test_a_conductor_comes_up_though_a_host_does_not(lab: Lab) -> None:
    machine_id = lab.layout.host("host2") / "machine-id"
    lab.kill("conductor")
    machine_id.unlink()
    machine_id.mkdir()
    try:
        with pytest.raises(OSError, match="machine-id"):
            lab.up()
        assert states(lab)["conductor"] == "up"
    finally:
        machine_id.rmdir()
        lab.up()


@pytest.mark.parametrize("server", ["rabbitmq", "postgresql"])
def test_nobody_waits_for_hosts_without_a_server(server: str, runtime: ThreadRuntime) -> None:
    require("rabbitmq", "postgresql")
    with world.short_directory() as directory:
        lab = Lab(directory, runtime)

        def kill(report: str) -> None:
            if report.startswith("started"):
                lab.kill(server)

        try:
            with pytest.raises(errors.LabFailed, match=f"{server} ended"):
                lab.up(LabSpec(hosts=1, driver=Driver.FAKE), kill)
        finally:
            lab.down()


def test_a_fake_lab_needs_no_root(runtime: ThreadRuntime) -> None:
    require("root", "rabbitmq", "postgresql")  # root, to become somebody else
    with world.short_directory() as directory:
        directory.mkdir()
        os.chown(directory, 65534, 65534)
        somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        environment = {
            **os.environ,
            "HOME": str(directory),
            "DROVER_LAB": str(directory / "l"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]),
        }
        python = _python_for(somebody, environment)

        def drover(*words: str) -> str:
            command = [*somebody, python, *COMMAND[1:], *words]
            done = subprocess.run(
                command, env=environment, cwd="/", capture_output=True, text=True, timeout=240, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            assert drover("up", "--driver", "fake", "--hosts", "1").startswith("export DROVER_CONFIG=")
            assert all(
                f"{name} " in drover("status") for name in ("rabbitmq", "postgresql", "conductor", "host1.agent")
            )
            owners = {Path(f"/proc/{one.pid}").stat().st_uid for one in program.find(f"lab:{directory}")}
            assert owners == {65534}
        finally:
            drover("down")
        assert world.processes(directory / "l") == {}


def _python_for(somebody: list[str], environment: dict[str, str]) -> str:
    """An interpreter that others than root may run: ours may lie in root's home."""
    probe = (
        "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import drover.lab.service, numpy']))"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*somebody, python, "-c", probe]
        if subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("this checkout or its Python cannot be used by other users")

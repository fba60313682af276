"""Processes that must not run: a second agent for a host, and any with a configuration that cannot be meant."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from drover.objects.host import Host
from tests import promise
from tests.fleet import Fleet

PROCESSES = {"conductor": "conductor", "scheduler": "scheduler", "agent": "host1.agent"}


def _run(package: str, config: Path) -> subprocess.CompletedProcess[str]:
    """One of Drover's processes, to its end."""
    command = [sys.executable, "-m", package, "--config-file", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _changed(fleet: Fleet, part: str, target: Path, **changes: dict[str, str]) -> Path:
    """The configuration of *part* with *changes*."""
    parser = configparser.RawConfigParser()
    parser.read(fleet.lab.layout.config(part))
    for section, options in changes.items():
        if not parser.has_section(section):
            parser.add_section(section)
        for name, value in options.items():
            parser.set(section, name, value)
    with target.open("w") as file:
        parser.write(file)
    return target


def _host1(fleet: Fleet) -> Host:
    return fleet.patiently(lambda: fleet.api.host_show(fleet.context(), "host1"))


def _speaks(fleet: Fleet, since: Host) -> None:
    """It has synced since then, in the same session."""

    def later() -> bool:
        now = _host1(fleet)
        assert now.session == since.session
        assert since.last_sync_at is not None
        return now.last_sync_at is not None and now.last_sync_at > since.last_sync_at

    fleet.until(later, "a sync of host1")


def test_another_machine_cannot_take_a_hosts_name(fake: Fleet, tmp_path: Path) -> None:
    before = _host1(fake)
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    agent = {"state_dir": str(tmp_path / "state"), "machine_id_file": str(tmp_path / "machine-id")}
    done = _run("agent", _changed(fake, "host1.agent", tmp_path / "agent.conf", agent=agent))
    assert done.returncode == 4, done
    assert "HostNameTaken" in done.stdout + done.stderr
    assert "drover host adopt host1" in done.stdout + done.stderr
    assert _host1(fake).machine_id == before.machine_id
    _speaks(fake, before)


def test_a_second_agent_on_the_same_machine_is_refused(fake: Fleet) -> None:
    before = _host1(fake)
    done = _run("agent", fake.lab.layout.config("host1.agent"))
    assert done.returncode == 4, done
    assert "StateDirLocked" in done.stdout + done.stderr
    _speaks(fake, before)


UNKNOWN_VALUE = ({"times": {"sync_interval_s": "soon"}}, "[times] sync_interval_s")


@pytest.mark.parametrize(
    ("package", "changes", "words"),
    [
        *((package, *UNKNOWN_VALUE) for package in PROCESSES),
        ("scheduler", {"times": {"sync_interval_s": "0"}}, "[times] sync_interval_s"),
        ("scheduler", {"log": {"level": "LOUD"}}, "[log] level"),
        ("agent", {"times": {"sync_intervall_s": "5"}}, "unknown option sync_intervall_s in [times]"),
        ("agent", {"timing": {"sync_interval_s": "5"}}, "unknown section [timing]"),
        ("conductor", {"bus": {"transport_url": "pigeon://host"}}, "[bus] transport_url"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_meant_ends_the_process(
    fake: Fleet, tmp_path: Path, package: str, changes: dict[str, dict[str, str]], words: str
) -> None:
    done = _run(package, _changed(fake, PROCESSES[package], tmp_path / "drover.conf", **changes))
    assert done.returncode == 2, done
    assert "error: InvalidConfig: configuration: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_driver_that_is_not_installed_is_named(fake: Fleet, tmp_path: Path) -> None:
    config = _changed(fake, "host1.agent", tmp_path / "drover.conf", agent={"driver": "xen"})
    done = _run("agent", config)
    assert done.returncode == 2, done
    assert "no virt driver 'xen'; installed: fake, libvirt" in done.stderr


def test_the_command_line_names_what_it_does_not_know(fake: Fleet, tmp_path: Path) -> None:
    config = _changed(fake, "conductor", tmp_path / "drover.conf", times={"sync_interval_s": "soon"})
    done = fake.drover("--config-file", str(config), "host", "list")
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: InvalidConfig: ")
    assert "[times] sync_interval_s" in done.stderr


def test_after_all_that_the_fleet_works(fake: Fleet) -> None:
    built = fake.create(3)
    fake.wait(built.operation_ids)
    assert len(promise.at_rest(fake)) == 3
    fake.delete(built.instance_uuids)
    promise.empty(fake)

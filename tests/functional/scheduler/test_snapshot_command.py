"""``drover-scheduler snapshot``: a process that reads a database and writes a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from drover.conf.database import DatabaseSettings
from drover.db import migration
from drover.db.engine import Database
from drover.runtime.threads import ThreadRuntime
from scheduler.snapshot import unpack
from tests.contract.store.claim_rows import add_builds, add_host


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "scheduler", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def prepared(directory: Path) -> Path:
    """A configuration whose database has two hosts and three requests."""
    url = f"sqlite:///{directory}/drover.sqlite"
    database = Database(url, DatabaseSettings(), ThreadRuntime())
    migration.upgrade(database)
    add_host(database, "a")
    add_host(database, "b", up=0)
    add_builds(database, ["o1", "o2", "o3"])
    database.close()
    configuration = directory / "drover.conf"
    configuration.write_text(f"[database]\nconnection = {url}\n[bus]\ntransport_url = unix:///nowhere\n")
    return configuration


def test_it_writes_the_fleet_and_its_newest_requests(tmp_path: Path) -> None:
    configuration, output = prepared(tmp_path), tmp_path / "fleet.jsonl.gz"
    done = run("snapshot", "--config-file", str(configuration), "--output", str(output), "--requests", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{output}: 2 hosts, 2 requests\n"
    taken = unpack(output.read_bytes())
    assert [line.row.host for line in taken.hosts] == ["a", "b"]
    assert [(line.spec.memory_mib, line.placed) for line in taken.requests] == [(512, None)] * 2
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == []


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    configuration = prepared(tmp_path)
    assert run("snapshot", "--config-file", str(configuration)).returncode == 2
    nowhere = run("snapshot", "--config-file", str(configuration), "--output", str(tmp_path / "no" / "file"))
    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith("error: BadInput: ")
    assert nowhere.stderr.count("\n") == 1

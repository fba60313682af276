"""A backup made while builds run, put back as the manual says: what the database knows holds, the rest is left alone.

The commands are those of ``docs/operating.md``, word for word.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drover import errors
from drover.db.restored import SESSION_LEAP
from drover.lab.postgres import programs
from drover.lab.spec import Driver
from drover.objects.instance import CreateReply
from drover.runtime import program
from drover.states import Action, OperationState, VmState
from tests import promise
from tests.fleet import QUICK, Fleet, fleet
from tests.promise import Guest

MANUAL = Path(__file__).resolve().parents[3] / "docs/operating.md"
DUMP = "pg_dump --format custom --file drover.dump drover"
COPY = "cp -a --reflink=auto /var/lib/drover/depot /backup/depot"
RESTORE = "pg_restore --clean --if-exists --single-transaction --dbname drover drover.dump"
SETTLE = "drover db restored"

#: a build takes seconds, so that a dump finds some of them under way
SLOW = {**QUICK, "fake": {"latency_min_s": "0.1", "latency_max_s": "0.3"}}
BUILDS = 24
SERVICES = ("conductor", "conductor2", "scheduler", "scheduler2")


def test_the_manual_says_what_is_done_here() -> None:
    text = MANUAL.read_text()
    for command in (DUMP, COPY, RESTORE, SETTLE):
        assert command in text


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a lab's database and depot in *place*."""

    lab: Fleet
    place: Path

    def make(self) -> None:
        self._run(DUMP)
        depot = str(self.lab.lab.layout.depot)
        self._run(COPY.replace("/var/lib/drover/depot", depot).replace("/backup", str(self.place)))

    def put_back(self) -> None:
        self._run(RESTORE)

    def _run(self, command: str) -> None:
        url = self.lab.database_url.removeprefix("postgresql://")
        user, password, host, port, _ = url.replace("@", ":").replace("/", ":").split(":")
        server = {"PGUSER": user, "PGPASSWORD": password, "PGHOST": host, "PGPORT": port}
        environment = {**os.environ, **server, "PATH": f"{programs()}:{os.environ['PATH']}"}
        done = subprocess.run(
            shlex.split(command), cwd=self.place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class Then:
    """What there was when the copy was made, by uuid."""

    kept: str
    stopped: str  # after it
    deleted: str  # after it
    asleep: str  # unshelved after it
    building: CreateReply


@dataclass(frozen=True, slots=True)
class Since:
    """What became of it since, none of which the copy knows."""

    built: CreateReply
    snapshot: str  # id of its image
    addresses: frozenset[str]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_a_restored_database_knows_holds_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    with fleet(Driver.FAKE, settings=SLOW, conductors=2, schedulers=2) as lab:
        backup = Backup(lab, tmp_path)
        then = _past(lab)
        lab.until_row("SELECT id FROM operation WHERE unfinished = 1 AND state = 'running' LIMIT 1")
        backup.make()
        since = _present(lab, then)
        before = promise.at_rest(lab)
        with promise.watched(lab):
            _refused_while_services_run(lab)
            _stop(lab)
            backup.put_back()
            unknown = _settle(lab)
            assert 0 < len(unknown) <= BUILDS, "the copy was made while builds ran"
            assert unknown <= set(then.building.operation_ids)
            _start(lab)
            orphans = _known_again(lab, then, since, before)
            _findings_are_those_of_the_manual(lab, then, since, orphans)
            _verbs_answer_as_the_manual_says(lab, then, since)
            assert _untouched(before, orphans) == _untouched(promise.guests(lab), orphans)


# --- before --------------------------------------------------------------------------------------------------


def _past(lab: Fleet) -> Then:
    ready = lab.create(4, name="vm", key="first")
    assert {op.state for op in lab.wait(ready.operation_ids)} == {OperationState.SUCCEEDED}
    kept, stopped, deleted, asleep = ready.instance_uuids
    assert lab.drover("image", "create", "old", "--file", str(lab.lab.layout.directory / "guest.raw")).returncode == 0
    _do(lab, asleep, Action.SHELVE)
    return Then(kept, stopped, deleted, asleep, lab.create(BUILDS, name="building"))


def _present(lab: Fleet, then: Then) -> Since:
    """Things that the copy does not know."""
    assert {op.state for op in lab.wait(then.building.operation_ids)} == {OperationState.SUCCEEDED}
    built = lab.create(2, name="later", key="later")
    assert {op.state for op in lab.wait(built.operation_ids)} == {OperationState.SUCCEEDED}
    _do(lab, then.stopped, Action.STOP)
    _do(lab, then.deleted, Action.DELETE)
    _do(lab, then.asleep, Action.UNSHELVE)
    _do(lab, then.kept, Action.SNAPSHOT, name="kept-since")
    assert lab.drover("image", "delete", "old").returncode == 0
    [(snapshot,)] = lab.rows("SELECT id FROM image WHERE name = 'kept-since'")
    return Since(built, snapshot, frozenset(ip for (ip,) in lab.rows("SELECT ip FROM port")))


def _do(lab: Fleet, uuid: str, action: Action, **params: str) -> None:
    [ended] = lab.wait([lab.act(uuid, action, **params).id])
    assert ended.state is OperationState.SUCCEEDED, ended.error


# --- back ----------------------------------------------------------------------------------------------------


def _restored(lab: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``drover db restored`` as whoever may read a conductor's configuration."""
    config = lab.lab.layout.config("conductor")
    return lab.drover(*SETTLE.split()[1:], *arguments, "--config-file", str(config))


def _refused_while_services_run(lab: Fleet) -> None:
    done = _restored(lab, "--yes")
    assert done.returncode == errors.ServicesConnected.exit_code
    assert "ServicesConnected" in done.stderr


def _stop(lab: Fleet) -> None:
    for name in SERVICES:
        lab.lab.kill(name, program.TERM)
    lab.until(lambda: not {part.name for part in lab.lab.status() if part.pid} & set(SERVICES), "services to stop")


def _settle(lab: Fleet) -> set[str]:
    """Ids of the operations that the copy shows as under way."""
    shown = json.loads(_restored(lab, "--dry-run", "--format", "json").stdout)
    done = json.loads(_restored(lab, "--yes", "--format", "json").stdout)
    assert (shown["done"], done["done"]) == (False, True)
    assert shown["consequences"] == done["consequences"]
    subjects = [each["subject"].partition(" ") for each in done["consequences"]]
    return {name for what, _, name in subjects if what == "operation"}


def _start(lab: Fleet) -> None:
    """As systemd does: agents end, since their sessions are of a time that the database does not know, and start anew."""

    def all_anew() -> bool:
        try:
            lab.lab.up()
        except errors.LabFailed:  # an agent ended meanwhile
            return False
        anew = "SELECT count(*) FROM host WHERE session > %s AND last_sync_at IS NOT NULL"
        return lab.rows(anew, SESSION_LEAP) == [(lab.lab.spec().hosts,)]

    lab.until(all_anew, "every agent to register anew")


# --- after ---------------------------------------------------------------------------------------------------


def _known_again(lab: Fleet, then: Then, since: Since, before: Iterable[Guest]) -> set[Guest]:
    """Records follow what hosts show; the guests that no placement names."""
    placed = {
        (uuid, host): epoch for uuid, host, epoch in lab.rows("SELECT instance_uuid, host, epoch FROM allocation")
    }
    orphans = {guest for guest in before if placed.get((guest.uuid, guest.host), 0) < guest.epoch}
    assert {then.asleep, *since.built.instance_uuids} <= {guest.uuid for guest in orphans}
    shown = {f"{guest.host}/{guest.uuid}" for guest in orphans}
    lab.until(lambda: _alarms(lab) == {("OrphanDomain", subject) for subject in shown}, "an alarm for each orphan")
    states = dict(lab.rows("SELECT uuid, vm_state FROM instance WHERE deleted_at IS NULL"))
    assert states[then.kept] == states[then.deleted] == VmState.ACTIVE
    assert states[then.asleep] == VmState.SHELVED_OFFLOADED
    lab.until_row("SELECT uuid FROM instance WHERE uuid = %s AND vm_state = 'stopped'", then.stopped)
    return orphans


def _alarms(lab: Fleet) -> set[tuple[str, str]]:
    return {(it.kind, it.subject) for it in lab.api.alarm_list(lab.context())}


def _findings_are_those_of_the_manual(lab: Fleet, then: Then, since: Since, orphans: set[Guest]) -> None:
    [(asleep, old)] = lab.rows(
        "SELECT a.name, b.name FROM image a, image b, instance i"
        " WHERE i.uuid = %s AND a.id = i.shelved_image_id AND b.name = 'old'",
        then.asleep,
    )
    expected = {("OrphanDomain", f"domain {guest.uuid} on {guest.host}") for guest in orphans}
    expected |= {("ImageBytesMissing", f"image {name}") for name in (asleep, old)}
    expected |= {("DepotUnknown", f"depot file {since.snapshot}")}
    done = lab.drover("doctor", "--format", "json")
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert {(it["code"], it["subject"]) for it in report["findings"]} == expected
    assert report["partial"] == []


def _untouched(found: Iterable[Guest], orphans: set[Guest]) -> set[Guest]:
    names = {guest.uuid for guest in orphans}
    return {guest for guest in found if guest.uuid in names}


def _refused(lab: Fleet, code: str, *arguments: str) -> None:
    done = lab.drover("instance", *arguments, "--wait")
    assert done.returncode != 0
    assert code in done.stderr + done.stdout


def _verbs_answer_as_the_manual_says(lab: Fleet, then: Then, since: Since) -> None:
    _refused(lab, "GuestNotFound", "reboot", then.deleted, "--hard")
    _do(lab, then.deleted, Action.DELETE)
    _refused(lab, "InstanceElsewhere", "unshelve", then.asleep)
    _do(lab, then.kept, Action.REBOOT, type="hard")
    _do(lab, then.stopped, Action.START)
    repeated = lab.create(4, name="vm", key="first")
    assert repeated.instance_uuids[0] == then.kept
    again = lab.create(2, name="later", key="later")
    assert not set(again.instance_uuids) & set(since.built.instance_uuids)
    assert {op.state for op in lab.wait(again.operation_ids)} == {OperationState.SUCCEEDED}
    taken = {ip for (ip,) in lab.rows("SELECT ip FROM port WHERE instance_uuid = ANY(%s)", list(again.instance_uuids))}
    assert not taken & since.addresses

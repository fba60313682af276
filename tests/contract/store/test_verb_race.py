"""Requests that look at an instance while somebody else ends with it: on PostgreSQL, where transactions overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.times import TimeSettings
from drover.db import instance, operation
from drover.db.engine import Database
from drover.objects.preview import Cure
from drover.runtime import Task
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life

_WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def shelved(pg: Database, runtime: ThreadRuntime) -> Iterator[Life]:
    """An instance that is on no host, so that its delete is over at once."""
    fleet = Fleet(pg, runtime, TimeSettings(join_window_s=0.0, reap_interval_s=3600.0))
    fleet.prepare()
    life = Life(fleet)
    life.put(VmState.SHELVED_OFFLOADED)
    life.leave()
    yield life
    fleet.close()


def begun(life: Life, work: Callable[[], object], waiting: int, answers: list[object]) -> Task:
    """*work* in a task, which has come to wait for a row, as the last one of so many; or has its answer."""

    def run() -> None:
        try:
            answers.append(work())
        except errors.DroverError as exc:
            answers.append(exc)

    fleet, before = life.fleet, len(answers)
    task = fleet.runtime.spawn("request", run)
    deadline = fleet.runtime.clock.monotonic() + 30
    while len(answers) == before:
        with fleet.database.read() as conn:
            if conn.execute(_WAITING).scalar_one() >= waiting:
                break
        assert fleet.runtime.clock.monotonic() < deadline
        fleet.runtime.sleep(0.02)
    return task


def test_a_verb_that_is_being_decided_when_its_instance_is_deleted_begins_nothing(shelved: Life) -> None:
    answers: list[object] = []
    with shelved.fleet.database.write() as conn:
        instance.find(conn, [shelved.uuid], lock=True)
        unshelve = begun(shelved, lambda: shelved.ask(Action.UNSHELVE), 1, answers)
        conn.execute(sa.text("UPDATE instance SET vm_state = 'deleted', deleted_at = '2030-01-01T00:00:00Z'"))
    assert unshelve.join(30)
    assert [type(answer) for answer in answers] == [errors.InstanceNotFound]
    with shelved.fleet.database.read() as conn:
        assert not operation.unfinished_of_instances(conn, [shelved.uuid])


def test_a_cure_that_is_being_decided_when_a_verb_begins_leaves_no_verb_without_an_instance(shelved: Life) -> None:
    api = shelved.fleet.api
    answers: list[object] = []
    with shelved.fleet.database.write() as conn:
        instance.find(conn, [shelved.uuid], lock=True)
        unshelve = begun(shelved, lambda: shelved.ask(Action.UNSHELVE), 1, answers)
        cure = begun(shelved, lambda: api.instance_recover(CTX, shelved.uuid, Cure.DELETE, dry_run=False), 2, answers)
    assert unshelve.join(30)
    assert cure.join(30)
    with shelved.fleet.database.read() as conn:
        [it] = instance.find(conn, [shelved.uuid]).values()
        assert (it.deleted_at is None) or not operation.unfinished_of_instances(conn, [shelved.uuid]), answers

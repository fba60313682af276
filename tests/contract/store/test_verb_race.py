"""Requests that look at an instance while somebody else ends with it: on PostgreSQL, where transactions overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from drover import errors
from drover.conf.times import TimeSettings
from drover.db import image, instance, operation
from drover.db.engine import Database
from drover.objects.preview import Cure
from drover.objects.sync import Observation, Order
from drover.runtime import Task
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, PowerState, VmState
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.life import Life

NOW = "2030-01-01T00:00:00Z"

_WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def life(pg: Database, runtime: ThreadRuntime) -> Iterator[Life]:
    fleet = Fleet(pg, runtime, TimeSettings(join_window_s=0.0, reap_interval_s=3600.0))
    fleet.prepare()
    yield Life(fleet)
    fleet.close()


@pytest.fixture
def shelved(life: Life) -> Life:
    """An instance that is on no host, so that its delete is over at once."""
    life.put(VmState.SHELVED_OFFLOADED)
    life.leave()
    return life


@pytest.fixture
def filled(life: Life) -> tuple[Life, Order]:
    """An instance whose disk has become an image, and whose host is about to say so."""
    life.ask(Action.SHELVE)
    order = life.order()
    assert life.agent.begin(order)
    assert order.upload is not None
    life.fill(order.upload.image_id)
    return life, order


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
        conn.execute(sa.text(f"UPDATE instance SET vm_state = 'deleted', deleted_at = '{NOW}'"))
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


def test_the_image_of_an_instance_that_is_being_shelved_is_not_deleted(filled: tuple[Life, Order]) -> None:
    life, order = filled
    assert order.upload is not None
    image_id = order.upload.image_id
    answers: list[object] = []
    with life.fleet.database.write() as conn:
        instance.find(conn, [life.uuid], lock=True)
        ends = begun(life, lambda: life.agent.end(order), 1, [])
        delete = begun(life, lambda: life.fleet.api.image_delete(CTX, image_id), 2, answers)
    assert ends.join(30)
    assert delete.join(30)
    assert life.show().vm_state is VmState.SHELVED_OFFLOADED
    with life.fleet.database.read() as conn:
        assert image.find(conn, image_id) is not None
    assert [type(answer) for answer in answers] == [errors.InUse]


def test_an_instance_whose_image_is_being_deleted_is_not_shelved(filled: tuple[Life, Order]) -> None:
    life, order = filled
    assert order.upload is not None
    with life.fleet.database.write() as conn:
        found = image.resolve(conn, order.upload.image_id, lock=True)
        ends = begun(life, lambda: life.agent.end(order), 1, [])
        conn.execute(sa.text(f"UPDATE image SET deleted_at = '{NOW}' WHERE id = '{found.id}'"))
    assert ends.join(30)
    after = life.show()
    assert (after.vm_state, after.host, after.task_state) == (VmState.ACTIVE, "h1", "")
    assert after.fault is not None
    assert after.fault.code == "ImageNotReady"


def test_a_guest_seen_before_its_instance_was_shelved_tells_nothing_of_it(life: Life) -> None:
    seen = Observation(instance_uuid=life.uuid, epoch=1, power_state=PowerState.RUNNING)
    with life.fleet.database.write() as conn:
        instance.find(conn, [life.uuid], lock=True)
        look = begun(life, lambda: life.agent.sync(observations=(seen,)), 1, [])
        columns = f"vm_state = '{VmState.SHELVED_OFFLOADED}', power_state = '{PowerState.SHUTDOWN}', host = ''"
        conn.execute(sa.text(f"UPDATE instance SET {columns}"))
        conn.execute(sa.text("DELETE FROM allocation"))
    assert look.join(30)
    assert life.show().power_state is PowerState.SHUTDOWN

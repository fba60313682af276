"""Every verb with its conductor killed around each commit: one that lives carries it on, or nothing was begun."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from conductor.dead_letter import DeadLetters
from conductor.upkeep import Upkeep
from conductor.workflows.action import ActionWorkflow
from conductor.workflows.cancel import CancelWorkflow
from conductor.workflows.sync import SyncWorkflow
from drover.conf.times import TimeSettings
from drover.objects.operation import ErrorInfo
from drover.objects.sync import Outcome, Result, SyncRequest
from drover.states import VERBS, Action, OperationState, PowerState, RestartPolicy, Verdict
from tests.functional.conductor.conftest import CTX, Fleet
from tests.functional.conductor.kill import Killed, Point, dying_core
from tests.functional.conductor.life import PARAMS, Life

POINTS = pytest.mark.parametrize("point", list(Point))
ON_HOST = [a for a in Action if not VERBS[a].places and a not in (Action.DELETE, Action.SOFT_DELETE)]
ERROR = ErrorInfo(code="DriverError", message="no")


@pytest.fixture
def times() -> TimeSettings:
    return TimeSettings(join_window_s=0.0, reap_interval_s=0.1, owner_lease_s=0.5)


def rows(life: Life) -> list[object]:
    """What verbs write; the reaper renews leases meanwhile."""
    queries = (
        "SELECT uuid, vm_state, image_id, epoch, host, shelved_image_id, fault FROM instance",
        "SELECT id, state, attempt FROM operation ORDER BY id",
        "SELECT id, deleted_at FROM image ORDER BY id",
        "SELECT instance_uuid, host, epoch, state FROM allocation ORDER BY epoch",
    )
    with life.fleet.database.read() as conn:
        return [conn.execute(sa.text(query)).all() for query in queries]


def ask_and_die(life: Life, action: Action, point: Point) -> None:
    workflow = ActionWorkflow(dying_core(life.fleet, point))
    with pytest.raises(Killed):
        workflow.run(CTX, life.uuid, action, PARAMS.get(action, {}), "")


@POINTS
@pytest.mark.parametrize("action", [*ON_HOST, Action.DELETE, Action.UNSHELVE])
def test_a_request_is_written_whole_or_not_at_all(fleet: Fleet, action: Action, point: Point) -> None:
    life = Life(fleet)
    life.put_for(action)
    life.leave()
    before = rows(life)
    ask_and_die(life, action, point)
    if point is Point.BEFORE:
        assert rows(life) == before
        return
    if action is Action.UNSHELVE:
        life.wait("the reaper tells the scheduler", lambda: bool(fleet.scheduler.nudged[1:]))
        life.place(fleet.api.operation_show(CTX, fleet.scheduler.nudged[-1]))
    old = life.show().vm_state
    order = life.order()
    assert order.action is action
    life.done(order)
    assert life.show().vm_state is (VERBS[action].end or old)


@POINTS
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
@pytest.mark.parametrize("action", ON_HOST)
def test_a_result_is_told_until_it_counts_and_counts_once(
    fleet: Fleet, action: Action, outcome: Outcome, point: Point
) -> None:
    life = Life(fleet)
    life.put_for(action)
    old = life.show().vm_state
    life.ask(action)
    order = life.order()
    if order.upload is not None:
        life.fill(order.upload.image_id)
    result = Result(
        operation_id=order.operation_id,
        attempt=order.attempt,
        instance_uuid=life.uuid,
        epoch=order.epoch,
        outcome=outcome,
        power_state=PowerState.RUNNING,
        error=ERROR if outcome is Outcome.FAILED else None,
    )
    core = dying_core(fleet, point)
    agent = life.agent
    told = SyncRequest(host="h1", session=agent.session, seq=agent.seq + 1, results=(result,))
    with pytest.raises(Killed):
        SyncWorkflow(core, DeadLetters(fleet.runtime, fleet.database, "")).sync(CTX, told)
    [ack] = agent.sync(results=(result,)).acks
    assert ack.verdict is (Verdict.APPLIED if point is Point.BEFORE else Verdict.ALREADY)
    succeeded = outcome is Outcome.SUCCEEDED
    end = VERBS[action].end if succeeded else VERBS[action].on_failure
    assert life.show().vm_state is (end or old)
    kept = {image.name for image in fleet.api.image_list(CTX)} - {"img"}
    assert bool(kept) is (VERBS[action].uploads and succeeded)


@POINTS
@pytest.mark.parametrize("action", ON_HOST)
def test_a_cancel_is_done_or_not_begun(fleet: Fleet, action: Action, point: Point) -> None:
    life = Life(fleet)
    life.put_for(action)
    op = life.ask(action)
    before = rows(life)
    with pytest.raises(Killed):
        CancelWorkflow(dying_core(fleet, point)).cancel(CTX, op.id)
    if point is Point.BEFORE:
        assert rows(life) == before
    else:
        assert life.operation(op).state is OperationState.CANCELLED
    assert fleet.api.operation_cancel(CTX, op.id).state is OperationState.CANCELLED
    assert life.agent.sync().orders == ()


@POINTS
def test_a_restart_is_begun_once(fleet: Fleet, point: Point) -> None:
    life = Life(fleet)
    fleet.conductor.stop()
    life.change(restart=RestartPolicy.ALWAYS.value, power_state="shutdown", restart_at="2020-01-01T00:00:00.000000Z")
    with pytest.raises(Killed):
        Upkeep(dying_core(fleet, point)).round()
    with fleet.database.read() as conn:
        begun = conn.execute(sa.text("SELECT state, user_id FROM operation WHERE action = 'start'")).all()
        restarts = conn.execute(sa.text("SELECT restarts, vm_state FROM instance")).one()
    once = point is Point.AFTER
    assert [tuple(row) for row in begun] == ([("dispatched", "drover")] if once else [])
    assert tuple(restarts) == (int(once), "active")

"""Observations on every database: only newer ones, only from the placement, and never against an operation."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from conductor import effect
from conductor.effect import Effect, Finish, Move, Vm
from conductor.workflows.observe import observe
from drover.db import due, instance
from drover.db.engine import Database
from drover.objects.instance import Instance, InstanceUsage
from drover.objects.sync import Observation, SyncRequest
from drover.states import Action, OperationState, PlacementState, PowerState, RestartPolicy, VmState
from tests.contract.store.test_journal import OWNER, claim_it, put_host, put_instance, put_operation
from tests.unit.conductor.plan.rows import T0, later

OFF = Observation(instance_uuid="i", epoch=1, power_state=PowerState.SHUTDOWN)
ON = replace(OFF, power_state=PowerState.RUNNING)
USAGE = InstanceUsage(cpu_time_s=1.5, memory_mib=64)


@pytest.fixture
def built(db: Database) -> Database:
    """Instance ``i``, active on h1."""
    put_host(db)
    put_instance(db)
    put_operation(db)
    claim_it(db)
    with db.write() as conn:
        end: list[Effect] = [
            Finish("op", 1, OperationState.SUCCEEDED),
            Vm(instance_uuid="i", vm_state=VmState.ACTIVE, power_state=PowerState.RUNNING),
            Move("i", "h1", 1, PlacementState.ACTIVE, tuple(PlacementState)),
        ]
        effect.apply(conn, end, OWNER)
    return db


def see(
    database: Database, *seen: Observation, host: str = "h1", session: int = 1, seq: int = 1, now: datetime = T0
) -> Instance:
    request = SyncRequest(host=host, session=session, seq=seq, observations=seen)
    with database.write() as conn:
        observe(conn, request, now)
        return instance.find(conn, ["i"])["i"]


def test_a_guest_that_stops_and_starts_by_itself_is_followed(built: Database) -> None:
    stopped = see(built, OFF)
    assert (stopped.power_state, stopped.vm_state) == (PowerState.SHUTDOWN, VmState.STOPPED)
    started = see(built, ON, seq=2)
    assert (started.power_state, started.vm_state) == (PowerState.RUNNING, VmState.ACTIVE)


def test_what_is_not_newer_changes_nothing(built: Database) -> None:
    see(built, ON, session=2, seq=5)
    assert see(built, OFF, session=2, seq=5).power_state is PowerState.RUNNING
    assert see(built, OFF, session=1, seq=9).power_state is PowerState.RUNNING
    assert see(built, OFF, session=2, seq=6).power_state is PowerState.SHUTDOWN


def test_another_host_or_epoch_is_not_believed(built: Database) -> None:
    assert see(built, OFF, host="h2").power_state is PowerState.RUNNING
    assert see(built, replace(OFF, epoch=2), seq=2).power_state is PowerState.RUNNING


def test_an_unfinished_operation_keeps_the_vm_state(built: Database) -> None:
    put_operation(built, id="op2")
    seen = see(built, OFF)
    assert (seen.power_state, seen.vm_state) == (PowerState.SHUTDOWN, VmState.ACTIVE)


def test_usage_is_kept_where_a_look_tells_none(built: Database) -> None:
    assert see(built, replace(ON, usage=USAGE)).usage == USAGE
    assert see(built, ON, seq=2).usage == USAGE


def test_one_sync_tells_of_many_and_of_strangers(built: Database) -> None:
    strangers = [replace(OFF, instance_uuid=f"x{number}") for number in range(100)]
    assert see(built, *strangers, OFF).power_state is PowerState.SHUTDOWN


CRASHED = replace(OFF, power_state=PowerState.CRASHED)
PAUSED = replace(OFF, power_state=PowerState.PAUSED)


def keep(database: Database, policy: RestartPolicy) -> None:
    with database.write() as conn:
        instance.change(conn, ["i"], restart=policy.value)


def vm_is(database: Database, vm_state: VmState) -> None:
    with database.write() as conn:
        effect.apply(conn, [Vm(instance_uuid="i", vm_state=vm_state)], OWNER)


@pytest.mark.parametrize(
    ("policy", "seen", "stays"),
    [
        (RestartPolicy.NEVER, OFF, False),
        (RestartPolicy.NEVER, CRASHED, False),
        (RestartPolicy.ON_FAILURE, OFF, False),
        (RestartPolicy.ON_FAILURE, CRASHED, True),
        (RestartPolicy.ALWAYS, OFF, True),
        (RestartPolicy.ALWAYS, CRASHED, True),
    ],
)
def test_a_policy_keeps_what_ended_active_and_due_to_be_started(
    built: Database, policy: RestartPolicy, seen: Observation, stays: bool
) -> None:
    keep(built, policy)
    it = see(built, seen, now=later(3))
    assert it.vm_state is (VmState.ACTIVE if stays else VmState.STOPPED)
    assert it.restart_at == (later(3) if stays else None)
    assert see(built, seen, seq=2, now=later(9)).restart_at == it.restart_at, "since when it is off, not until when"
    with built.write() as conn:
        assert [i.uuid for i in due.to_restart(conn, 10)] == (["i"] if stays else [])


def test_a_guest_that_runs_again_is_not_due(built: Database) -> None:
    keep(built, RestartPolicy.ALWAYS)
    see(built, OFF)
    assert see(built, ON, seq=2).restart_at is None
    with built.write() as conn:
        assert due.to_restart(conn, 10) == []


def test_an_unfinished_operation_keeps_restarts_away(built: Database) -> None:
    keep(built, RestartPolicy.ALWAYS)
    put_operation(built, id="op2")
    assert see(built, OFF).restart_at is None
    with built.write() as conn:
        instance.change(conn, ["i"], restart_at="2030-01-01T00:00:00.000000Z")
        assert due.to_restart(conn, 10) == []


def test_what_ran_on_a_host_that_booted_is_due_when_it_is_seen_off_whatever_its_policy(built: Database) -> None:
    with built.write() as conn:
        due.restart_on(conn, "h1", later(1))
        assert due.to_restart(conn, 10) == [], "nobody has seen it yet"
    it = see(built, OFF, host="h1", session=2)
    assert (it.vm_state, it.power_state, it.restart_at) == (VmState.ACTIVE, PowerState.SHUTDOWN, later(1))
    with built.write() as conn:
        assert [i.uuid for i in due.to_restart(conn, 10)] == ["i"]


def test_a_stopped_guest_is_not_due_after_a_boot(built: Database) -> None:
    vm_is(built, VmState.STOPPED)
    with built.write() as conn:
        due.restart_on(conn, "h1", later(1))
    it = see(built, OFF, session=2)
    assert (it.vm_state, it.restart_at) == (VmState.STOPPED, None)


def test_a_verb_that_ends_ends_what_was_due(built: Database) -> None:
    keep(built, RestartPolicy.ALWAYS)
    see(built, OFF)
    vm_is(built, VmState.STOPPED)
    with built.write() as conn:
        assert instance.find(conn, ["i"])["i"].restart_at is None


@pytest.mark.parametrize(
    ("vm_state", "seen", "then"),
    [
        (VmState.PAUSED, OFF, VmState.STOPPED),
        (VmState.PAUSED, PAUSED, VmState.PAUSED),
        (VmState.PAUSED, ON, VmState.ACTIVE),
        (VmState.SUSPENDED, OFF, VmState.SUSPENDED),
        (VmState.SUSPENDED, ON, VmState.ACTIVE),
        (VmState.ACTIVE, PAUSED, VmState.PAUSED),
        (VmState.RESCUED, OFF, VmState.RESCUED),
        (VmState.SOFT_DELETED, ON, VmState.ACTIVE),
        (VmState.ERROR, ON, VmState.ERROR),
    ],
)
def test_states_that_follow_the_guest_and_states_that_do_not(
    built: Database, vm_state: VmState, seen: Observation, then: VmState
) -> None:
    vm_is(built, vm_state)
    assert see(built, seen).vm_state is then


def test_soft_deleted_ones_are_reclaimed_in_time_and_not_while_locked_or_busy(built: Database) -> None:
    vm_is(built, VmState.SOFT_DELETED)
    with built.write() as conn:
        assert due.to_reclaim(conn, T0, 10) == []
        assert [i.uuid for i in due.to_reclaim(conn, later(1), 10)] == ["i"]
        instance.change(conn, ["i"], locked=1)
        assert due.to_reclaim(conn, later(1), 10) == []
        instance.change(conn, ["i"], locked=0)
    vm_is(built, VmState.ACTIVE)
    with built.write() as conn:
        assert due.to_reclaim(conn, later(1), 10) == [], "it was restored"
    vm_is(built, VmState.SOFT_DELETED)
    put_operation(built, id="op2")
    with built.write() as conn:
        assert due.to_reclaim(conn, later(1), 10) == []


@pytest.mark.parametrize("before", [VmState.ACTIVE, VmState.STOPPED])
def test_an_instance_is_rescued_when_its_guest_is(built: Database, before: VmState) -> None:
    """A cancelled rescue or unrescue may have come too far: what runs decides."""
    with built.write() as conn:
        effect.apply(conn, [Vm(instance_uuid="i", vm_state=before)], OWNER)
    assert see(built, replace(ON, rescue=True)).vm_state is VmState.RESCUED
    assert see(built, replace(OFF, rescue=True), seq=2).vm_state is VmState.RESCUED
    assert see(built, ON, seq=3).vm_state is VmState.RESCUED, "an agent of before does not say"
    assert see(built, replace(ON, rescue=False), seq=4).vm_state is VmState.ACTIVE


def test_a_rescue_that_is_under_way_is_left_to_its_end(built: Database) -> None:
    put_operation(built, id="rescue", action=Action.RESCUE, state=OperationState.RUNNING)
    assert see(built, replace(ON, rescue=True)).vm_state is VmState.ACTIVE


SAVED = replace(OFF, saved=True, rescue=False)
GONE = replace(SAVED, saved=False)


@pytest.mark.parametrize("before", [VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED])
@pytest.mark.parametrize("policy", [RestartPolicy.NEVER, RestartPolicy.ALWAYS])
def test_an_instance_is_suspended_when_its_memory_is_saved(
    built: Database, before: VmState, policy: RestartPolicy
) -> None:
    """A cancelled suspend may have come too far, and virsh can save a guest too."""
    keep(built, policy)
    vm_is(built, before)
    suspended = see(built, SAVED)
    assert (suspended.vm_state, suspended.restart_at) == (VmState.SUSPENDED, None)
    assert see(built, OFF, seq=2).vm_state is VmState.SUSPENDED, "an agent of before does not say"
    assert see(built, GONE, seq=3).vm_state is VmState.STOPPED, "its memory was thrown away"


def test_a_guest_that_its_host_saved_at_shutdown_is_started_after_the_boot(built: Database) -> None:
    with built.write() as conn:
        due.restart_on(conn, "h1", later(1))
    it = see(built, SAVED, session=2)
    assert (it.vm_state, it.restart_at) == (VmState.ACTIVE, later(1))


@pytest.mark.parametrize("before", [VmState.ACTIVE, VmState.PAUSED, VmState.STOPPED])
def test_an_instance_is_rescued_when_its_guest_is_off_and_will_boot_its_rescue(
    built: Database, before: VmState
) -> None:
    keep(built, RestartPolicy.ALWAYS)
    vm_is(built, before)
    it = see(built, replace(GONE, rescue=True))
    assert (it.vm_state, it.restart_at) == (VmState.RESCUED, None)


def test_an_instance_whose_guest_is_off_and_boots_its_own_disk_is_rescued_no_more(built: Database) -> None:
    vm_is(built, VmState.RESCUED)
    assert see(built, GONE).vm_state is VmState.STOPPED


@pytest.mark.parametrize("seen", [SAVED, replace(GONE, rescue=True)])
def test_a_deleted_instance_that_can_be_restored_stays_so(built: Database, seen: Observation) -> None:
    vm_is(built, VmState.SOFT_DELETED)
    assert see(built, seen).vm_state is VmState.SOFT_DELETED

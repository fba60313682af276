"""Observations on every database: only newer ones, only from the placement, and never against an operation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conductor import effect
from conductor.effect import Effect, Finish, Move, Vm
from conductor.workflows.observe import observe
from drover.db import instance
from drover.db.engine import Database
from drover.objects.instance import Instance, InstanceUsage
from drover.objects.sync import Observation, SyncRequest
from drover.states import OperationState, PlacementState, PowerState, VmState
from tests.contract.store.test_journal import OWNER, claim_it, put_host, put_instance, put_operation

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


def see(database: Database, *seen: Observation, host: str = "h1", session: int = 1, seq: int = 1) -> Instance:
    request = SyncRequest(host=host, session=session, seq=seq, observations=seen)
    with database.write() as conn:
        observe(conn, request)
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

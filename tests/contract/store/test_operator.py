"""Operators' verbs by a whole conductor over each database: updates, fences, recoveries, audits, purges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from conductor.plan.doctor import RULES
from drover import errors
from drover.clock import to_iso
from drover.conf.times import TimeSettings
from drover.db import audit, notice, placement, schema
from drover.db.engine import Database
from drover.objects.instance import CreateReply, InstanceFilter
from drover.objects.preview import Cure
from drover.objects.sync import Gone, Observation, Order, Outcome, Remains
from drover.objects.update import InstanceUpdate
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, PlacementState, PowerState, RestartPolicy, VmState
from tests.contract.store.conftest import SETTINGS
from tests.contract.store.test_conductor import begin_all, ordered
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent

#: hosts are silent after 2 s without a sync
TIMES = TimeSettings(
    join_window_s=0.0,
    reap_interval_s=0.1,
    owner_lease_s=1.0,
    sync_interval_s=1.0,
    silent_factor=2.0,
    usage_interval_s=0.5,
    rpc_timeout_s=1.0,
)


@pytest.fixture
def fleet(db: Database, runtime: ThreadRuntime) -> Iterator[Fleet]:
    made = Fleet(db, runtime, TIMES)
    made.prepare()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def still(request: pytest.FixtureRequest, runtime: ThreadRuntime) -> Iterator[Fleet]:
    """A fleet where nothing happens by itself, and hosts are silent after 20 s."""
    database = request.getfixturevalue("pg") if request.param == "postgresql" else None
    if database is None:
        database = Database("sqlite://", SETTINGS, runtime)
        with database.write() as conn:
            schema.metadata.create_all(conn)
    made = Fleet(database, runtime, TimeSettings(join_window_s=0.0, reap_interval_s=3600.0))
    made.prepare()
    yield made
    made.close()
    if request.param == "sqlite":
        database.close()


def built(fleet: Fleet, agent: PlayedAgent, name: str = "vm", **changes: object) -> CreateReply:
    """Active on the agent's host."""
    reply = fleet.create(name, **changes)
    fleet.place(reply, agent.name, tell=False)
    orders = [order for order in ordered(agent) if order.operation_id in reply.operation_ids]
    begin_all(agent, orders)
    for order in orders:
        agent.end(order)
    return reply


def until(fleet: Fleet, look: object, what: str) -> None:
    deadline = fleet.runtime.clock.monotonic() + 60
    while not look():  # type: ignore[operator]
        assert fleet.runtime.clock.monotonic() < deadline, what
        fleet.runtime.sleep(0.02)


def judged_silent(fleet: Fleet) -> None:
    """What a conductor's round comes to where there are none."""
    execute(fleet, "UPDATE host_capacity SET up = 0")


def silent(fleet: Fleet, name: str = "h1") -> None:
    until(fleet, lambda: not fleet.api.host_show(CTX, name).up, f"{name} never fell silent")


def placements(fleet: Fleet, name: str = "h1") -> dict[str, PlacementState]:
    with fleet.database.read() as conn:
        return {p.instance_uuid: p.state for p in placement.of_hosts(conn, [name])}


def show(fleet: Fleet, uuid: str) -> tuple[VmState, str]:
    it = fleet.api.instance_show(CTX, uuid)
    return it.vm_state, it.fault.code if it.fault else ""


def execute(fleet: Fleet, statement: str, **values: object) -> None:
    with fleet.database.write() as conn:
        assert conn.execute(sa.text(statement), values).rowcount > 0


def codes(fleet: Fleet) -> set[str]:
    """Findings but for those that every played fleet has: no scheduler, and hosts that speak only when played."""
    return {it.code for it in fleet.api.audit(CTX).findings} - {"NoService", "HostDown"}


# --- updates -------------------------------------------------------------------------------------------------


def test_updates_are_changes_and_tags_select(fleet: Fleet) -> None:
    [one, other] = fleet.create("vm", count=2, tags=("Blue", "web"), metadata={"a": "1"}).instance_uuids
    update = InstanceUpdate(
        name="shop",
        set_metadata={"b": "2"},
        unset_metadata=("a", "none"),
        add_tags=("x%_",),
        remove_tags=("web",),
        restart=RestartPolicy.ALWAYS,
    )
    after = fleet.api.instance_update(CTX, one, update)
    assert after == fleet.api.instance_update(CTX, one, update)
    assert (after.name, after.metadata, after.tags, after.restart) == (
        "shop",
        {"b": "2"},
        ("Blue", "x%_"),
        RestartPolicy.ALWAYS,
    )

    def tagged(*tags: str) -> set[str]:
        page = fleet.api.instance_list(CTX, InstanceFilter(tags=tags))
        return {it.uuid for it in page.instances}

    assert tagged("Blue") == {one, other}
    assert tagged("Blue", "web") == {other}
    assert tagged("x%_") == {one}
    assert tagged("x%") == tagged("blue") == tagged("Blu") == set()


def test_a_locked_instance_may_only_be_unlocked(fleet: Fleet) -> None:
    uuid = fleet.create().instance_uuids[0]
    fleet.api.instance_update(CTX, "vm", InstanceUpdate(locked=True))
    assert fleet.api.instance_update(CTX, "vm", InstanceUpdate(locked=True)).locked
    for refused in (InstanceUpdate(add_tags=("x",)), InstanceUpdate(locked=True, name="other")):
        with pytest.raises(errors.InstanceLocked):
            fleet.api.instance_update(CTX, uuid, refused)
    with pytest.raises(errors.InstanceLocked):
        fleet.api.instance_recover(CTX, uuid, Cure.DELETE, dry_run=False)
    assert not fleet.api.instance_update(CTX, "vm", InstanceUpdate(locked=False)).locked


def test_updates_of_different_things_at_once_are_all_kept(fleet: Fleet) -> None:
    uuid = fleet.create().instance_uuids[0]
    tags = [f"t{n}" for n in range(8)]

    def add(tag: str) -> None:
        fleet.api.instance_update(CTX, uuid, InstanceUpdate(add_tags=(tag,)))

    tasks = [fleet.runtime.spawn(tag, lambda tag=tag: add(tag)) for tag in tags]  # type: ignore[misc]
    assert all(task.join(60) for task in tasks)
    assert fleet.api.instance_show(CTX, uuid).tags == tuple(tags)


# --- fences --------------------------------------------------------------------------------------------------


def test_what_speaks_is_not_fenced_nor_forgotten(still: Fleet) -> None:
    fleet = still
    fleet.agent().sync()
    with pytest.raises(errors.HostUp):
        fleet.api.host_fence(CTX, "h1", "off")
    with pytest.raises(errors.HostUp):
        fleet.api.host_forget(CTX, "h1")
    with pytest.raises(errors.BadInput):
        fleet.api.host_fence(CTX, "h1", "  ")


def test_a_fence_settles_everything_and_keeps_the_only_copies(still: Fleet) -> None:
    fleet = still
    agent = fleet.agent()
    kept = built(fleet, agent, "kept").instance_uuids[0]
    gone = built(fleet, agent, "gone").instance_uuids[0]
    doomed = fleet.api.instance_action(CTX, gone, Action.DELETE, {})
    stopping = built(fleet, agent, "stopping").instance_uuids[0]
    stop = fleet.api.instance_action(CTX, stopping, Action.STOP, {})
    building = fleet.create("building", networks=())
    fleet.place(building)
    begin_all(agent, [order for order in ordered(agent) if order.operation_id in building.operation_ids])
    execute(fleet, "UPDATE host_capacity SET total_vcpus = 9")
    undelivered = fleet.create("undelivered", networks=())
    fleet.place(undelivered, tell=False)  # killed between claim and nudge
    judged_silent(fleet)

    seen = fleet.api.host_fence(CTX, "h1", "plug pulled", dry_run=True)
    assert not seen.done
    assert fleet.api.host_show(CTX, "h1").fence is None
    change = fleet.api.host_fence(CTX, "h1", "plug pulled")
    assert change.done
    assert change.consequences == seen.consequences
    assert fleet.api.host_fence(CTX, "h1", "again").host.fence == change.host.fence  # the first word stands

    assert show(fleet, kept) == show(fleet, stopping) == (VmState.ERROR, "HostFenced")
    ends = {op: fleet.api.operation_show(CTX, op) for op in (doomed.id, stop.id)}
    assert ends[doomed.id].state is OperationState.SUCCEEDED
    assert ends[stop.id].error is not None
    assert ends[stop.id].error.code == "HostFenced"  # type: ignore[union-attr]
    for reply in (building, undelivered):
        op = fleet.api.operation_show(CTX, reply.operation_ids[0])
        assert (op.state, op.attempt, op.excluded_hosts) == (OperationState.SCHEDULING, 2, ("h1",))
    assert placements(fleet) == {
        kept: PlacementState.ACTIVE,
        stopping: PlacementState.ACTIVE,
        gone: PlacementState.LEAVING,
        building.instance_uuids[0]: PlacementState.LEAVING,
    }
    with fleet.database.read() as conn:
        ports = set(conn.execute(sa.select(schema.port.c.instance_uuid)).scalars())
    assert ports == {kept, stopping}  # what is deleted needs no address, though the host has not cleaned up


def test_a_fenced_host_is_refused_until_it_is_adopted_and_then_cleans_up(fleet: Fleet) -> None:
    agent = fleet.agent()
    kept = built(fleet, agent, "kept").instance_uuids[0]
    gone = built(fleet, agent, "gone").instance_uuids[0]
    silent(fleet)
    fleet.api.host_fence(CTX, "h1", "plug pulled")
    with pytest.raises(errors.StaleSession):
        agent.sync()
    with pytest.raises(errors.HostFenced):
        agent.register()
    delete = fleet.api.instance_action(CTX, gone, Action.DELETE, {})
    assert fleet.waiting.operation_wait(CTX, (delete.id,), 30.0).done  # nobody waits for a host that is off

    assert fleet.api.host_adopt(CTX, "h1").fence is None
    with pytest.raises(errors.StaleSession):
        agent.sync()  # what was on its way is of the old session
    agent.register()
    reply = agent.sync()
    assert [left.instance_uuid for left in reply.leaving] == [gone]
    agent.sync(gone=tuple(Gone(instance_uuid=left.instance_uuid, epoch=left.epoch) for left in reply.leaving))
    assert placements(fleet) == {kept: PlacementState.ACTIVE}

    with pytest.raises(errors.CureRefused):  # not yet seen
        fleet.api.instance_recover(CTX, kept, Cure.RESET, dry_run=False)
    agent.sync(observations=(Observation(instance_uuid=kept, epoch=1, power_state=PowerState.SHUTDOWN),))
    assert fleet.api.instance_recover(CTX, kept, Cure.RESET, dry_run=False).done is Cure.RESET
    assert show(fleet, kept) == (VmState.STOPPED, "")


def test_a_fence_that_was_cut_short_is_settled_by_the_reaper(fleet: Fleet) -> None:
    kept = built(fleet, fleet.agent()).instance_uuids[0]
    silent(fleet)
    execute(fleet, "UPDATE host SET fence = :word", word='{"reason":"off","by":"me","at":"2030-01-01T00:00:00Z"}')
    until(fleet, lambda: show(fleet, kept)[1] == "HostFenced", "nobody settled the fence")


def test_a_host_is_forgotten_when_it_is_empty_or_fenced(still: Fleet) -> None:
    fleet = still
    agent = fleet.agent()
    kept = built(fleet, agent).instance_uuids[0]
    judged_silent(fleet)
    with pytest.raises(errors.InUse):
        fleet.api.host_forget(CTX, "h1")
    fleet.api.host_fence(CTX, "h1", "scrapped")
    assert not fleet.api.host_forget(CTX, "h1", dry_run=True).done
    session = fleet.api.host_show(CTX, "h1").session
    assert len(fleet.api.host_forget(CTX, "h1").consequences) == 1
    with pytest.raises(errors.HostNotFound):
        fleet.api.host_show(CTX, "h1")
    assert show(fleet, kept) == (VmState.ERROR, "HostFenced")
    assert fleet.api.instance_show(CTX, kept).host == ""
    # A machine that takes the name is a new host; sessions of the old one stay stale.
    assert agent.register().session == session + 1
    # Nothing of it is anywhere now, so it may be built again.
    done = fleet.api.instance_recover(CTX, kept, Cure.RETRY, dry_run=False)
    assert (done.instance.vm_state, done.instance.epoch) == (VmState.BUILDING, 2)
    assert fleet.api.operation_show(CTX, done.operation_id).state is OperationState.SCHEDULING
    until(fleet, lambda: done.operation_id in fleet.scheduler.nudged, "the scheduler was not told")


# --- recoveries ----------------------------------------------------------------------------------------------


def failed(fleet: Fleet, agent: PlayedAgent, *, clean: bool) -> tuple[str, Order]:
    """An instance whose last attempt failed on the agent's host."""
    reply = fleet.create("broken")
    fleet.place(reply, agent.name)
    [order] = [order for order in ordered(agent) if order.operation_id == reply.operation_ids[0]]
    begin_all(agent, [order])
    agent.end(order, Outcome.FAILED, clean=clean, power_state=PowerState.UNKNOWN)
    return reply.instance_uuids[0], order


def test_a_failed_build_is_retried_only_when_nothing_of_it_is_left(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid, order = failed(fleet, agent, clean=False)
    op = fleet.api.operation_show(CTX, order.operation_id)
    if op.state is not OperationState.FAILED:  # it waits for its host's word
        fleet.api.operation_cancel(CTX, op.id)
    seen = fleet.api.instance_recover(CTX, uuid)
    assert {option.cure: bool(option.refused) for option in seen.options} == {
        Cure.RESET: True,
        Cure.DELETE: False,
        Cure.RETRY: True,
    }
    with pytest.raises(errors.CureRefused, match="may still run on h1"):
        fleet.api.instance_recover(CTX, uuid, Cure.RETRY, dry_run=False)
    agent.sync(gone=(Gone(instance_uuid=uuid, epoch=order.epoch),))
    done = fleet.api.instance_recover(CTX, uuid, Cure.RETRY, dry_run=False)
    assert done.instance.epoch == order.epoch + 1
    assert done.instance.fault is None
    with pytest.raises(errors.CureRefused, match="is under way"):
        fleet.api.instance_recover(CTX, uuid, Cure.RETRY, dry_run=False)


def test_a_forced_delete_leaves_the_clean_up_to_its_records(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid = built(fleet, agent).instance_uuids[0]
    stop = fleet.api.instance_action(CTX, uuid, Action.STOP, {})
    done = fleet.api.instance_recover(CTX, uuid, Cure.DELETE, dry_run=False)
    assert done.instance.vm_state is VmState.DELETED
    assert fleet.api.operation_show(CTX, stop.id).state is OperationState.CANCELLED
    assert fleet.api.operation_show(CTX, done.operation_id).action is Action.DELETE
    assert placements(fleet) == {uuid: PlacementState.LEAVING}
    assert [left.instance_uuid for left in agent.sync().leaving] == [uuid]
    with pytest.raises(errors.InstanceNotFound):
        fleet.api.instance_recover(CTX, "vm")


def test_nothing_is_wrong_with_a_sound_instance(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid = built(fleet, agent).instance_uuids[0]
    agent.sync(observations=(Observation(instance_uuid=uuid, epoch=1, power_state=PowerState.RUNNING),))
    seen = fleet.api.instance_recover(CTX, uuid)
    assert seen.diagnosis == ()
    assert {option.cure for option in seen.options if option.refused} == {Cure.RESET, Cure.RETRY}


# --- audits --------------------------------------------------------------------------------------------------

#: what breaks a sound fleet of one active instance, and the finding of it; (statement, code, healable)
BREAKS = [
    ("UPDATE host_capacity SET used_vcpus = 3", "CapacityDrift", True),
    ("UPDATE host_capacity SET total_vcpus = 0", "OverCommitted", False),
    ("UPDATE instance SET host = 'h9'", "WrongHost", True),
    ("UPDATE allocation SET state = 'held'", "HeldForNothing", False),
    ("UPDATE allocation SET state = 'held'", "NoCopy", False),
    ("UPDATE allocation SET state = 'reserved'", "ReservedForNothing", True),
    ("UPDATE allocation SET host = 'h9'", "PlacementOnUnknownHost", False),
    ("UPDATE instance SET deleted_at = :past, vm_state = 'deleted'", "PlacementOfDeleted", True),
    ("UPDATE instance SET uuid = 'x'", "PlacementOfUnknown", False),
    ("UPDATE instance SET vm_state = 'building'", "BuildingByNobody", False),
    (
        """
INSERT INTO allocation (instance_uuid, host, epoch, state, operation_id, vcpus, memory_mib, disk_gib, created_at,
    hardware, group_id)
SELECT instance_uuid, 'h2', epoch, 'permitted', operation_id, 0, 0, 0, created_at, '', '' FROM allocation""",
        "TwoCopies",
        False,
    ),
    (
        "UPDATE operation SET unfinished = 1, state = 'running', owner_until = NULL, created_at = :past",
        "OperationUnowned",
        True,
    ),
    (
        "UPDATE operation SET unfinished = 1, state = 'running', owner_until = '2999', created_at = :past",
        "OperationOverdue",
        False,
    ),
    ("UPDATE port SET instance_uuid = 'nobody'", "OrphanPort", True),
    ("INSERT INTO instance_secret VALUES ('nobody', 'x', '[]')", "SecretLeft", True),
    (
        "INSERT INTO orphan VALUES ('h1', 'stray', 3, 'running', '2030-01-01T00:00:00Z', '2030-01-01T00:00:09Z')",
        "OrphanDomain",
        False,
    ),
    ("UPDATE image SET status = 'queued', url = '', created_at = :past", "ImageNeverFilled", False),
]


@pytest.mark.parametrize(("statement", "code", "healable"), BREAKS, ids=[f"{code}" for _, code, _ in BREAKS])
def test_an_audit_finds_and_heals(still: Fleet, statement: str, code: str, healable: bool) -> None:
    fleet = still
    built(fleet, fleet.agent())
    assert codes(fleet) == set()
    past = to_iso(fleet.runtime.clock.now() - timedelta(days=2))
    execute(fleet, statement, **({"past": past} if ":past" in statement else {}))

    [found] = [it for it in fleet.api.audit(CTX).findings if it.code == code]
    assert found.healable is healable
    assert "{" not in f"{found.subject}{found.what}{found.why}{found.cure}"
    report = fleet.api.audit(CTX, ((code, found.subject), (code, "nobody")))
    assert {(it.subject, it.done) for it in report.healed} == {(found.subject, healable), ("nobody", False)}
    assert (code in {it.code for it in report.findings}) is not healable


def test_leaving_that_does_not_go_is_found(still: Fleet) -> None:
    fleet = still
    agent = fleet.agent()
    uuid = built(fleet, agent).instance_uuids[0]
    fleet.api.instance_recover(CTX, uuid, Cure.DELETE, dry_run=False)
    assert "CleanupPending" not in codes(fleet)
    past = to_iso(fleet.runtime.clock.now() - timedelta(hours=1))
    execute(fleet, "UPDATE operation SET finished_at = :past", past=past)
    execute(fleet, "UPDATE host SET registered_at = :past", past=past)
    assert "CleanupPending" in codes(fleet)


def test_every_check_has_its_words() -> None:
    of_hardware = {"HardwareTwice", "HardwareBeyond"}
    made_by_the_workflow = {"ImageBytesMissing", "DepotStray", "DepotUnknown", "NoService", "QueueUnread", *of_hardware}
    assert {check.code for check in audit.CHECKS} == RULES.keys() - made_by_the_workflow


def test_a_busy_fleet_has_no_findings(still: Fleet) -> None:
    """What is under way is no contradiction."""
    fleet = still
    agent = fleet.agent()
    built(fleet, agent, "a")
    fleet.api.instance_action(CTX, "a", Action.STOP, {})
    fleet.create("queued")
    placed = fleet.create("placed")
    fleet.place(placed)
    deleted = built(fleet, agent, "deleted").instance_uuids[0]
    fleet.api.instance_action(CTX, deleted, Action.DELETE, {})
    assert codes(fleet) == set()


# --- orphans -------------------------------------------------------------------------------------------------


def test_a_domain_without_a_record_is_listed_while_it_is_shown(fleet: Fleet) -> None:
    agent = fleet.agent()
    uuid = built(fleet, agent).instance_uuids[0]
    mine = Observation(instance_uuid=uuid, epoch=1, power_state=PowerState.RUNNING)
    stray = Observation(instance_uuid="stray", epoch=1, power_state=PowerState.RUNNING)

    agent.sync(observations=(mine, stray))
    assert fleet.api.host_show(CTX, "h1").orphan_domains == ()  # one look may be late
    agent.sync(observations=(mine, stray))
    assert fleet.api.host_show(CTX, "h1").orphan_domains == ("stray",)
    assert {alarm.subject for alarm in fleet.api.alarm_list(CTX)} == {"h1/stray"}
    above = Observation(instance_uuid=uuid, epoch=2, power_state=PowerState.RUNNING)
    agent.sync(observations=(above,))
    agent.sync(observations=(above,))
    assert set(fleet.api.host_show(CTX, "h1").orphan_domains) == {uuid, "stray"}

    placed = built(fleet, agent, "placed").instance_uuids[0]
    for _ in range(2):
        agent.sync(remains=(Remains(instance_uuid="files", epoch=1), Remains(instance_uuid=placed, epoch=1)))
    assert set(fleet.api.host_show(CTX, "h1").orphan_domains) == {uuid, "stray"}, "files are no domain"
    found = {it.subject for it in fleet.api.audit(CTX).findings if it.code == "OrphanDisk"}
    assert found == {"disk of files on h1"}, "the other has a placement"
    with pytest.raises(errors.InstanceElsewhere, match="h1 may run it"):
        fleet.api.instance_action(CTX, uuid, Action.REBOOT, {"type": "hard"})
    execute(fleet, "UPDATE orphan SET seen_at = '2000-01-01T00:00:00Z'")  # by a clock that is behind: not gone yet
    assert set(fleet.api.host_show(CTX, "h1").orphan_domains) == {uuid, "stray"}

    def unalarmed() -> bool:
        agent.sync()
        return not fleet.api.alarm_list(CTX)

    until(fleet, unalarmed, "the alarm stands")
    assert fleet.api.host_show(CTX, "h1").orphan_domains == ()


# --- purges --------------------------------------------------------------------------------------------------


def rows(fleet: Fleet) -> dict[str, int]:
    counted = ("instance", "operation", "operation_log", "decision", "idempotency", "alarm", "allocation", "image")
    with fleet.database.read() as conn:
        return {
            name: int(conn.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one())
            for name in counted
        }


def test_a_purge_takes_what_ended_and_nothing_that_is_left(still: Fleet) -> None:
    fleet = still
    agent = fleet.agent()
    live = built(fleet, agent, "live", idempotency_key="k1").instance_uuids[0]
    gone = built(fleet, agent, "gone").instance_uuids[0]
    left = built(fleet, agent, "left").instance_uuids[0]
    for uuid in (gone, left):
        fleet.api.instance_recover(CTX, uuid, Cure.DELETE, dry_run=False)
    agent.sync(gone=(Gone(instance_uuid=gone, epoch=1),))
    with fleet.database.write() as conn:
        notice.raise_alarm(conn, "Old", "x", "y", fleet.runtime.clock.now())
    past = to_iso(fleet.runtime.clock.now() - timedelta(days=40))
    execute(fleet, "UPDATE operation SET created_at = :past, finished_at = :past", past=past)
    execute(fleet, "UPDATE instance SET created_at = :past", past=past)
    execute(fleet, "UPDATE instance SET deleted_at = :past WHERE deleted_at IS NOT NULL", past=past)
    execute(fleet, "UPDATE idempotency SET created_at = :past", past=past)
    execute(fleet, "UPDATE alarm SET at = :past", past=past)
    before = rows(fleet)

    with pytest.raises(errors.BadInput):
        fleet.api.purge(CTX, 0.5)
    assert sum(fleet.api.purge(CTX, 41.0).rows.values()) == 0
    counted = fleet.api.purge(CTX, 30.0, dry_run=True)
    assert rows(fleet) == before
    report = fleet.api.purge(CTX, 30.0)
    assert {name: count for name, count in report.rows.items() if count} == {
        # The builds of what is placed say why it is where it is.
        "operation": before["operation"] - 2,
        "idempotency": before["idempotency"],
        "alarm": 1,
        # It had operations when the count was made, which go before it.
        "instance": 1,
        **({"operation_log": report.rows["operation_log"]} if report.rows["operation_log"] else {}),
        **({"decision": report.rows["decision"]} if report.rows["decision"] else {}),
    }
    assert counted.rows["operation"] == report.rows["operation"]
    assert set(placements(fleet)) == {live, left}
    with fleet.database.read() as conn:
        assert set(conn.execute(sa.select(schema.instance.c.uuid)).scalars()) == {live, left}
    assert sum(fleet.api.purge(CTX, 30.0).rows.values()) == 0
    assert fleet.api.why(CTX, live).operation.action is Action.BUILD

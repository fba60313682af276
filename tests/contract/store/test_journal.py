"""The journal's rows on every database: one unfinished verb an instance, every write conditional, repeats harmless."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from conductor import effect
from conductor.effect import Begin, Finish, Grant, Move, Owner, Release, Requeue, Vm
from drover import errors
from drover.db import address, catalog, host, instance, notice, operation, placement
from drover.db.claim import Claim, ClaimState, claim
from drover.db.engine import Database
from drover.db.schema import instance_secret
from drover.objects.catalog import Flavor, Network, NetworkKind
from drover.objects.host import HostIdentity, Inventory, Registration, Resources
from drover.objects.instance import Instance, InstanceFilter
from drover.objects.operation import ErrorInfo, Operation, OperationFilter, ServiceLog, StepRecord
from drover.objects.sync import SyncRequest
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, PlacementState, VmState
from tests.unit.conductor.plan.rows import T0, later
from tests.unit.conductor.plan.rows import operation as an_operation

FLAVOR = Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=1)
OWNER = Owner("c1", T0, later(15))
_SECRETS = select(instance_secret)


def put_host(database: Database, name: str = "h1", incarnation: int = 0, **identity: str) -> int:
    who = HostIdentity(
        host=name,
        host_uuid=identity.get("host_uuid", f"uuid-{name}"),
        machine_id="m",
        boot_id="b",
    )
    inventory = Inventory(vcpus=2, memory_mib=4096, disk_gib=50, vcpus_ratio=1.0, virt_types=("qemu",))
    with database.write() as conn:
        return host.register(conn, Registration(identity=who, inventory=inventory, incarnation=incarnation), T0)


def put_instance(database: Database, uuid: str = "i", name: str = "vm") -> None:
    new = Instance(
        uuid=uuid,
        name=name,
        project_id="default",
        user_id="u",
        flavor=FLAVOR,
        image_id="img",
        vm_state=VmState.BUILDING,
        created_at=T0,
    )
    with database.write() as conn:
        instance.add(conn, [new], {uuid: instance.Secret(user_data="hidden", ssh_keys=("k",))})


def put_operation(database: Database, **changes: object) -> Operation:
    new = an_operation(**{"state": OperationState.SCHEDULING, "host": "", **changes})  # type: ignore[arg-type]
    with database.write() as conn:
        operation.add(conn, [new], owner_until=later(15), keys={})
    return new


def claim_it(database: Database, host_name: str = "h1") -> ClaimState:
    ask = Resources(vcpus=1, memory_mib=512, disk_gib=1)
    with database.write() as conn:
        [outcome] = claim(
            conn,
            [Claim(operation_id="op", attempt=1, instance_uuid="i", candidates=(host_name,), ask=ask)],
            T0,
        )
    return outcome.state


def test_an_instance_has_one_unfinished_operation(db: Database) -> None:
    put_instance(db)
    put_operation(db)
    with pytest.raises(errors.StoreConflict):
        put_operation(db, id="second", action=Action.DELETE)
    with db.write() as conn:
        operation.finish(conn, [("op", 1)], OperationState.SUCCEEDED, None, T0)
    put_operation(db, id="second", action=Action.DELETE)


def test_a_value_comes_back_as_it_went_in(db: Database) -> None:
    new = put_operation(db, params={"type": "hard"}, excluded_hosts=("h1", "h2"), request_id="req-1", owner="c1")
    with db.read() as conn:
        found = operation.get(conn, "op")
    assert found == replace(new, started_at=None)


def test_an_end_is_written_once_and_only_for_its_attempt(db: Database) -> None:
    put_operation(db)
    error = ErrorInfo(code="X", message="no")
    with db.write() as conn:
        operation.finish(conn, [("op", 2)], OperationState.FAILED, error, T0)
        assert operation.get(conn, "op").state is OperationState.SCHEDULING  # type: ignore[union-attr]
        operation.finish(conn, [("op", 1)], OperationState.FAILED, error, T0)
        operation.finish(conn, [("op", 1)], OperationState.SUCCEEDED, None, later(9))
        found = operation.get(conn, "op")
    assert found is not None
    assert (found.state, found.error, found.finished_at) == (OperationState.FAILED, error, T0)


def test_expired_operations_are_found_and_renewed_ones_are_not(db: Database) -> None:
    put_operation(db)
    with db.write() as conn:
        assert operation.expired(conn, later(14), 10) == []
        assert [op.id for op in operation.expired(conn, later(16), 10)] == ["op"]
        operation.own(conn, ["op"], "c2", later(60))
        assert operation.expired(conn, later(16), 10) == []


def test_a_build_from_claim_to_active_and_every_effect_may_be_repeated(db: Database) -> None:
    put_host(db)
    put_instance(db)
    put_operation(db)
    assert claim_it(db) is ClaimState.CLAIMED
    assert claim_it(db) is ClaimState.STALE
    for _ in range(2):
        with db.write() as conn:
            placement.move(conn, [("i", "h1", 1)], PlacementState.HELD, of=(PlacementState.RESERVED,))
            applied = effect.apply(conn, [Begin("op", 1), Grant("op", 1, "i", "h1", 1)], OWNER)
            assert applied.granted == {("i", "h1", 1)}
    done: list[effect.Effect] = [
        Finish("op", 1, OperationState.SUCCEEDED),
        Vm(instance_uuid="i", vm_state=VmState.ACTIVE, host="h1", launched=True),
        Move("i", "h1", 1, PlacementState.ACTIVE, (PlacementState.PERMITTED,)),
    ]
    for _ in range(2):
        with db.write() as conn:
            effect.apply(conn, done, OWNER)
    with db.read() as conn:
        found = instance.find(conn, ["i"])["i"]
        [placed] = placement.find_of_instances(conn, ["i"])["i"]
        shown = host.get(conn, "h1")
    assert (found.vm_state, found.host, found.launched_at) == (VmState.ACTIVE, "h1", T0)
    assert placed.state is PlacementState.ACTIVE
    assert (shown.used, shown.instances) == (Resources(vcpus=1, memory_mib=512, disk_gib=1), 1)


def test_a_leaving_placement_gets_no_permit(db: Database) -> None:
    put_host(db)
    put_instance(db)
    put_operation(db)
    claim_it(db)
    with db.write() as conn:
        effect.apply(conn, [Move("i", "h1", 1, PlacementState.LEAVING, (PlacementState.RESERVED,))], OWNER)
        assert effect.apply(conn, [Grant("op", 1, "i", "h1", 1)], OWNER).granted == set()


def test_a_requeue_raises_attempt_and_epoch_and_excludes_the_host(db: Database) -> None:
    put_host(db)
    put_instance(db)
    put_operation(db)
    claim_it(db)
    with db.write() as conn:
        current = operation.get(conn, "op")
        assert current is not None
        effect.apply(conn, [Release("i", "h1", 1), Requeue(current, "h1")], OWNER)
        again = operation.get(conn, "op")
        found = instance.find(conn, ["i"])["i"]
        used = host.get(conn, "h1").used
    assert again is not None
    assert (again.state, again.attempt, again.host) == (OperationState.SCHEDULING, 2, "")
    assert again.excluded_hosts == ("h1",)
    assert (found.epoch, found.host) == (2, "")
    assert used == Resources()


def test_capacity_is_given_back_exactly_once(db: Database) -> None:
    put_host(db)
    put_instance(db)
    put_operation(db)
    claim_it(db)
    for _ in range(3):
        with db.write() as conn:
            effect.apply(conn, [Release("i", "h1", 1)], OWNER)
    with db.read() as conn:
        assert host.get(conn, "h1").used == Resources()


def test_addresses_and_secrets_go_with_the_last_placement_of_a_deleted_instance(db: Database) -> None:
    runtime = ThreadRuntime()
    put_host(db)
    put_instance(db)
    put_operation(db)
    network = Network(
        id="n",
        name="net",
        kind=NetworkKind.NAT,
        cidr="10.0.0.0/29",
        gateway="10.0.0.1",
        first="10.0.0.2",
        last="10.0.0.6",
        mac_index=1,
        created_at=T0,
    )
    with db.write() as conn:
        catalog.put_network(conn, network)
        address.reserve(conn, "n", [("i", 0)], runtime.uuid)
    claim_it(db)
    with db.write() as conn:
        effect.apply(conn, [Vm(instance_uuid="i", vm_state=VmState.DELETED, deleted=True)], OWNER)
        assert address.ports_of(conn, ["i"]), "a host may still use the address"
        assert conn.execute(_SECRETS).one()
        effect.apply(conn, [Release("i", "h1", 1)], OWNER)
        assert not address.ports_of(conn, ["i"])
        assert conn.execute(_SECRETS).first() is None


def test_a_failed_instance_keeps_its_address_until_it_is_deleted(db: Database) -> None:
    put_instance(db)
    put_operation(db)
    error = ErrorInfo(code="NoValidHost", message="none")
    with db.write() as conn:
        failed = Vm(instance_uuid="i", vm_state=VmState.ERROR, fault=error)
        effect.apply(conn, [Finish("op", 1, OperationState.FAILED, error), failed], OWNER)
        found = instance.find(conn, ["i"])["i"]
        assert conn.execute(_SECRETS).one()
    assert found.fault is not None
    assert (found.fault.code, found.vm_state) == ("NoValidHost", VmState.ERROR)


def test_names_are_resolved_and_ambiguous_ones_refused_with_candidates(db: Database) -> None:
    put_instance(db, "i1", "web")
    put_instance(db, "i2", "web")
    put_instance(db, "i3", "db")
    with db.read() as conn:
        assert instance.resolve(conn, "db", project_id="default").uuid == "i3"
        assert instance.resolve(conn, "i1", project_id="other").uuid == "i1"
        with pytest.raises(errors.AmbiguousName) as caught:
            instance.resolve(conn, "web", project_id="default")
        assert "i1" in caught.value.message
        assert "i2" in caught.value.message
        with pytest.raises(errors.InstanceNotFound):
            instance.resolve(conn, "db", project_id="other")


def test_pages_hold_every_row_once_also_with_equal_times(db: Database) -> None:
    for n in range(7):
        put_instance(db, f"i{n}", f"vm{n}")
        put_operation(db, id=f"op{n}", instance_uuid=f"i{n}", created_at=T0 + timedelta(seconds=n // 3))
    seen: list[str] = []
    marker = ""
    while True:
        with db.read() as conn:
            rows = instance.page(conn, InstanceFilter(limit=3, marker=marker), project_id="default")
        seen += [row.uuid for row in rows[:3]]
        if len(rows) <= 3:
            break
        marker = rows[2].uuid
    assert sorted(seen) == [f"i{n}" for n in range(7)]
    ids: list[str] = []
    marker = ""
    while True:
        query = OperationFilter(limit=2, marker=marker)
        with db.read() as conn:
            found = operation.page(conn, query, instance_uuid="", project_id="default")
        ids += [op.id for op in found[:2]]
        if len(found) <= 2:
            break
        marker = found[1].id
    assert ids == ["op6", "op5", "op4", "op3", "op2", "op1", "op0"]


def test_a_host_name_belongs_to_one_machine_until_it_is_adopted(db: Database) -> None:
    assert put_host(db) == 1
    assert put_host(db) == 2
    with pytest.raises(errors.HostNameTaken):
        put_host(db, host_uuid="another")
    with db.write() as conn:
        host.adopt(conn, "h1")
    assert put_host(db, host_uuid="another") == 3
    with pytest.raises(errors.HostNameTaken):
        put_host(db)


def test_a_registration_told_twice_opens_one_session_and_one_of_a_dead_agent_opens_none(db: Database) -> None:
    assert put_host(db, incarnation=1) == 1
    assert put_host(db, incarnation=1) == 1
    assert put_host(db, incarnation=2) == 2
    with pytest.raises(errors.StaleSession):
        put_host(db, incarnation=1)
    with db.write() as conn:
        host.adopt(conn, "h1")
    assert put_host(db, incarnation=1) == 3, "an adopted host may have an older state dir"


def test_a_sync_of_an_old_session_or_an_old_seq_touches_nothing(db: Database) -> None:
    put_host(db)
    put_host(db)
    with db.write() as conn:
        host.touch(conn, SyncRequest(host="h1", session=2, seq=5), later(5))
        host.touch(conn, SyncRequest(host="h1", session=2, seq=4), later(9))
        host.touch(conn, SyncRequest(host="h1", session=1, seq=8), later(9))
        [pulse] = host.pulses(conn)
    assert (pulse.session, pulse.seq, pulse.last_sync_at) == (2, 5, later(5))


def test_logs_of_an_attempt_are_kept_once(db: Database) -> None:
    first = ServiceLog(
        service="agent@h1", attempt=1, started_at=T0, steps=(StepRecord(name="disk", at_s=0.1, duration_s=0.2),)
    )
    with db.write() as conn:
        operation.add_logs(conn, [("op", first)])
        operation.add_logs(conn, [("op", replace(first, steps=()))])
        assert operation.logs(conn, "op") == (first,)


def test_an_idempotency_key_is_remembered_with_what_it_made(db: Database) -> None:
    key = ("default", "k")
    with db.write() as conn:
        notice.remember(conn, {key: notice.Remembered("d", '"reply"')}, T0)
        assert notice.recall(conn, [key, ("default", "other")]) == {key: notice.Remembered("d", '"reply"')}
    with pytest.raises(errors.StoreConflict), db.write() as conn:
        notice.remember(conn, {key: notice.Remembered("d2", "x")}, T0)


def test_an_alarm_keeps_the_time_it_began_until_it_is_cleared(db: Database) -> None:
    with db.write() as conn:
        notice.raise_alarm(conn, "Kind", "h1", "first", T0)
        notice.raise_alarm(conn, "Kind", "h1", "again", later(5))
        assert [(a[1], a[2]) for a in notice.alarms(conn)] == [("h1", "first")]
        notice.clear(conn, "Kind", ["h1"])
        assert notice.alarms(conn) == []

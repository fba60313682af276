"""``drover db restored``: what an old copy shows as under way is ended, and what it cannot know is leapt over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from conductor.past import seal
from drover import errors
from drover.clock import to_iso
from drover.conf.times import TimeSettings
from drover.db import deployment, migration, notice, restored
from drover.db.engine import Database
from drover.objects.host import HostIdentity, Inventory, Registration
from drover.objects.preview import Cure, Settlement
from drover.objects.sync import SyncRequest
from drover.rpc.conductor import Alarm
from drover.runtime.threads import ThreadRuntime
from drover.states import Action, OperationState, PlacementState, PowerState, VmState
from tests.contract.store.conftest import SETTINGS
from tests.contract.store.test_conductor import ordered
from tests.contract.store.test_operator import built, codes, execute, placements, show
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent
from tests.functional.conductor.test_event import see

NOW = datetime(2031, 1, 2, tzinfo=UTC)
#: nothing happens by itself
STILL = TimeSettings(join_window_s=0.0, reap_interval_s=3600.0)

NEW = HostIdentity(host="new", host_uuid="u", machine_id="m", boot_id="b")
NOTHING = Inventory(vcpus=0, memory_mib=0, disk_gib=0)

Open = Callable[[], Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def reopen(request: pytest.FixtureRequest, runtime: ThreadRuntime) -> Iterator[Open]:
    """Opens one and the same database, again and again; all are closed in the end."""
    empty: Callable[[str, str], Database] = request.getfixturevalue("empty_database")
    first = empty(request.param, "restored")
    migration.upgrade(first)
    first.close()
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path')}/restored.db"
    else:
        url = request.getfixturevalue("postgres").url.removesuffix("/drover") + "/restored"
    opened: list[Database] = []

    def make() -> Database:
        opened.append(Database(url, SETTINGS, runtime))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


@contextmanager
def serving(database: Database, runtime: ThreadRuntime, *, prepared: bool = True) -> Iterator[Fleet]:
    fleet = Fleet(database, runtime, STILL)
    if not prepared:
        fleet.prepare()
    yield fleet
    fleet.close()
    database.close()


def settle(reopen: Open, now: datetime = NOW) -> Settlement:
    database = reopen()
    try:
        seen = restored.survey(database)
        done = restored.settle(database, now)
    finally:
        database.close()
    assert done.consequences == seen.consequences, "what was shown is what was done"
    assert (seen.done, done.done) == (False, True)
    return done


def words(settlement: Settlement) -> str:
    return "\n".join(f"{each.subject}: {each.effect}" for each in settlement.consequences)


def ended(fleet: Fleet, operation_id: str) -> tuple[OperationState, str]:
    op = fleet.api.operation_show(CTX, operation_id)
    return op.state, op.error.code if op.error else ""


def one(database: Database, query: str) -> object:
    with database.read() as conn:
        return conn.execute(sa.text(query)).scalar()


UNKNOWN = (OperationState.FAILED, "OutcomeUnknown")


def test_what_was_under_way_ends_and_placements_stay(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        stopping, deleting = (built(fleet, agent, name).instance_uuids[0] for name in ("stopping", "deleting"))
        stop = fleet.api.instance_action(CTX, stopping, Action.STOP, {})
        delete = fleet.api.instance_action(CTX, deleting, Action.DELETE, {})
        waiting, placed = fleet.create("waiting"), fleet.create("placed")
        fleet.place(placed, tell=False)
        agent.begin(next(order for order in ordered(agent) if order.instance_uuid in placed.instance_uuids))
        before = placements(fleet)
    told = words(settle(reopen))
    assert "stop of stopping, dispatched in the copy, fails (OutcomeUnknown)\n" in told
    assert "build of waiting, scheduling in the copy, fails (OutcomeUnknown), and the instance is in error\n" in told
    with serving(reopen(), runtime) as fleet:
        for operation_id in (stop.id, delete.id, *waiting.operation_ids, *placed.operation_ids):
            assert ended(fleet, operation_id) == UNKNOWN
        assert show(fleet, stopping) == (VmState.ACTIVE, ""), "what its host shows decides"
        for uuid in (deleting, *waiting.instance_uuids, *placed.instance_uuids):
            assert show(fleet, uuid) == (VmState.ERROR, "OutcomeUnknown")
        [built_or_not] = placed.instance_uuids
        assert before.pop(built_or_not) is PlacementState.PERMITTED
        after = placements(fleet)
        assert after.pop(built_or_not) is PlacementState.ACTIVE, "it may be there"
        assert after == before


@pytest.mark.parametrize("state", ["reserved", "held", "permitted"])
def test_what_was_being_built_is_taken_over_once_its_host_shows_it(
    reopen: Open, runtime: ThreadRuntime, state: str
) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        placed = fleet.create("vm")
        fleet.place(placed, tell=False)
        execute(fleet, f"UPDATE allocation SET state = '{state}'")
    settle(reopen)
    with serving(reopen(), runtime) as fleet:
        agent.fleet = fleet
        agent.register()
        [uuid] = placed.instance_uuids
        with pytest.raises(errors.CureRefused, match="h1 has not reported it yet"):
            fleet.api.instance_recover(CTX, uuid, Cure.RESET, dry_run=False)
        with pytest.raises(errors.CureRefused, match="h1 holds it"):
            fleet.api.instance_recover(CTX, uuid, Cure.RETRY, dry_run=False)
        see(agent, uuid, PowerState.RUNNING)
        fleet.api.instance_recover(CTX, uuid, Cure.RESET, dry_run=False)
        it = fleet.api.instance_show(CTX, uuid)
        assert (it.vm_state, it.host, it.fault) == (VmState.ACTIVE, "h1", None)
        assert codes(fleet) == set()


def test_it_is_done_once_however_often(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        operation_id = fleet.create().operation_ids[0]
    assert "build of vm" in words(settle(reopen))
    second = settle(reopen, NOW + timedelta(hours=1))
    assert not second.consequences
    with serving(reopen(), runtime) as fleet:
        assert fleet.api.operation_show(CTX, operation_id).finished_at == NOW


def test_agents_register_anew_above_every_session_there_was(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        fleet.agent("gone")
        execute(fleet, "UPDATE host_capacity SET up = 0 WHERE host = 'gone'")
        fleet.api.host_forget(CTX, "gone", dry_run=False)
    later = agent.session + 3  # what it came to after the copy was made
    settle(reopen)
    with serving(reopen(), runtime) as fleet:
        agent.fleet, agent.session = fleet, later
        with pytest.raises(errors.StaleSession):
            agent.sync()
        assert agent.register().session > restored.SESSION_LEAP
        agent.sync()
        assert fleet.agent("gone").session > restored.SESSION_LEAP


def test_nothing_begins_by_itself_for_what_the_copy_says(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        uuid = built(fleet, fleet.agent()).instance_uuids[0]
        execute(fleet, "UPDATE instance SET restart_at = '2020-01-01T00:00:00Z', soft_deleted_at = created_at")
    told = words(settle(reopen))
    assert "1 instances: are not started again" in told
    assert "1 instances: are soft-deleted, and can be restored" in told
    database = reopen()
    assert one(database, f"SELECT restart_at FROM instance WHERE uuid = '{uuid}'") is None
    assert one(database, f"SELECT soft_deleted_at FROM instance WHERE uuid = '{uuid}'") == to_iso(NOW)


def test_the_next_address_is_not_the_one_that_was_next_in_the_copy(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        known = fleet.create("known")
        copied = one(fleet.database, "SELECT cursor FROM network")
        lost = fleet.create("lost")  # after the copy
        took = one(fleet.database, f"SELECT ip FROM port WHERE instance_uuid = '{lost.instance_uuids[0]}'")
        execute(fleet, f"DELETE FROM port WHERE instance_uuid = '{lost.instance_uuids[0]}'")
        execute(fleet, f"UPDATE network SET cursor = {copied}")
    settle(reopen)
    with serving(reopen(), runtime) as fleet:
        new = fleet.create("new")
        query = f"SELECT ip FROM port WHERE instance_uuid = '{new.instance_uuids[0]}'"
        assert one(fleet.database, query) != took
        assert known.instance_uuids != new.instance_uuids


def test_services_that_are_connected_forbid_it(reopen: Open, runtime: ThreadRuntime) -> None:
    """PostgreSQL tells who is there; SQLite's file is of one process."""
    with serving(reopen(), runtime, prepared=False) as fleet:
        operation_id = fleet.create().operation_ids[0]
        with pytest.raises((errors.ServicesConnected, errors.DatabaseInUse)):
            restored.settle(reopen(), NOW)
        assert ended(fleet, operation_id) == (OperationState.SCHEDULING, "")


def test_what_may_run_on_a_host_that_was_not_heard_since_is_not_placed_again(
    reopen: Open, runtime: ThreadRuntime
) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        shelved, failed = (built(fleet, agent, name).instance_uuids[0] for name in ("shelved", "failed"))
        execute(fleet, f"UPDATE instance SET vm_state = 'shelved_offloaded', host = '' WHERE uuid = '{shelved}'")
        execute(fleet, f"UPDATE instance SET vm_state = 'error', host = '' WHERE uuid = '{failed}'")
        execute(fleet, "DELETE FROM allocation")
    settle(reopen)
    with serving(reopen(), runtime) as fleet:
        with pytest.raises(errors.InstanceElsewhere, match="h1 may run it"):
            fleet.api.instance_action(CTX, shelved, Action.UNSHELVE, {})
        with pytest.raises(errors.CureRefused, match="h1 may run it"):
            fleet.api.instance_recover(CTX, failed, Cure.RETRY, dry_run=False)
        agent.fleet = fleet
        agent.register()
        fleet.api.instance_action(CTX, shelved, Action.UNSHELVE, {})
        fleet.api.instance_recover(CTX, failed, Cure.RETRY, dry_run=False)


@pytest.mark.parametrize("reopen", ["postgresql"], indirect=True)  # SQLite's file is of one process
def test_a_service_that_is_just_leaving_does_not(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        operation_id = fleet.create().operation_ids[0]
    service = reopen()
    with service.read() as conn:
        conn.execute(sa.text("SELECT 1"))

    def leave() -> None:
        runtime.sleep(0.3)
        service.close()

    leaving = runtime.spawn("leave", leave)
    settle(reopen)
    leaving.join(60)
    with serving(reopen(), runtime) as fleet:
        assert ended(fleet, operation_id)[0] is OperationState.FAILED


@pytest.mark.parametrize("reopen", ["postgresql"], indirect=True)  # SQLite's file is of one process
def test_a_service_that_comes_in_between_forbids_it_too(
    reopen: Open, runtime: ThreadRuntime, request: pytest.FixtureRequest
) -> None:
    """It connects after the first look, and before the table of operations is locked."""
    with serving(reopen(), runtime, prepared=False) as fleet:
        operation_id = fleet.create().operation_ids[0]
    url = request.getfixturevalue("postgres").url.removesuffix("/drover") + "/restored"
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    settling = reopen()
    refused: list[errors.DroverError] = []

    def work() -> None:
        try:
            restored.settle(settling, NOW)
        except errors.DroverError as exc:
            refused.append(exc)

    with engine.connect() as other:  # by its name no service
        other.execute(sa.text("LOCK TABLE operation IN SHARE MODE"))
        task = runtime.spawn("settle", work)
        deadline = runtime.clock.monotonic() + 60
        while not other.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
            assert runtime.clock.monotonic() < deadline, "it never waits"
            runtime.sleep(0.01)
        with reopen().read() as service:
            service.execute(sa.text("SELECT 1"))
        other.rollback()
        task.join(60)
    engine.dispose()
    assert [type(exc) for exc in refused] == [errors.ServicesConnected]
    settling.close()
    with serving(reopen(), runtime) as fleet:
        assert ended(fleet, operation_id) == (OperationState.SCHEDULING, "")


# --- a conductor that finds out by itself -----------------------------------------------------------------------


def register_elsewhere(agent: PlayedAgent) -> None:
    """As after a registration that the copy does not know."""
    with agent.fleet.database.read() as conn:
        key = deployment.get(conn).depot_key
    agent.session += 1
    agent.seal = seal(key, agent.name, agent.session)


def test_a_session_that_was_made_up_is_stale_and_stops_nothing(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent, other = fleet.agent(), fleet.agent("h2")
        for made_up in (agent.seal, other.seal, "", "\N{SNOWMAN}"):
            with pytest.raises(errors.StaleSession):
                fleet.api.sync(CTX, SyncRequest(host="h1", session=2, seq=9, seal=made_up))
        assert fleet.api.alarm_list(CTX) == ()
        agent.sync()


def test_an_agent_whose_session_is_yet_to_be_given_stops_everything(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        other = fleet.agent("h2")
        building = fleet.create()
        register_elsewhere(agent)
        with pytest.raises(errors.OldDatabase, match="host h1 is in session 2, the database knows 1"):
            agent.sync()
        for attempt in (
            other.sync,
            lambda: fleet.api.register(CTX, Registration(identity=NEW, inventory=NOTHING)),
            lambda: fleet.create("more"),
            lambda: fleet.api.instance_action(CTX, building.instance_uuids[0], Action.DELETE, {}),
        ):
            with pytest.raises(errors.Unavailable):
                attempt()
        fleet.place(building, tell=False)
        fleet.api.dispatched(CTX, building.operation_ids)
        assert not agent.cast, "no order leaves"
        (alarm,) = fleet.api.alarm_list(CTX)
        assert (alarm.kind, alarm.subject) == (restored.ALARM, restored.SUBJECT)
    with serving(reopen(), runtime) as fleet:  # one that starts finds the alarm
        other.fleet = fleet
        with pytest.raises(errors.OldDatabase):
            other.sync()
    settle(reopen)
    with serving(reopen(), runtime) as fleet:
        assert fleet.api.alarm_list(CTX) == ()
        other.fleet = fleet
        other.register()
        other.sync()
        assert ended(fleet, building.operation_ids[0]) == UNKNOWN


def test_an_operator_may_say_that_the_host_is_mistaken(reopen: Open, runtime: ThreadRuntime) -> None:
    with serving(reopen(), runtime, prepared=False) as fleet:
        agent = fleet.agent()
        register_elsewhere(agent)
        with pytest.raises(errors.OldDatabase):
            agent.sync()
        cleared = fleet.api.alarm_clear(CTX, restored.ALARM, restored.SUBJECT)
        assert isinstance(cleared, Alarm)
    with serving(reopen(), runtime) as fleet:
        fleet.create("more")
        with fleet.database.read() as conn:
            assert notice.alarms(conn) == []

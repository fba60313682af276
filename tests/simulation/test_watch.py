"""The checkers see what they are there for: each promise broken on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from agent.virt.fake_store import GuestRecord
from drover.db.schema import metadata
from drover.objects import codec
from drover.objects.hardware import CellClaim, HardwareClaim
from drover.states import Action, PowerState
from tests.simulation.machine import FOREIGN
from tests.simulation.plan import Plan
from tests.simulation.promises import at_rest
from tests.simulation.store import Store
from tests.simulation.world import World

GUEST = GuestRecord(uuid="u", name="drover-u", deployment_id="d", epoch=1, defined=True)
RUNNING = replace(GUEST, power_state=PowerState.RUNNING)


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    made = World(Plan(seed=1), store)
    yield made
    made.close()


def _insert(store: Store, table: str, **values: object) -> None:
    numbers = (sa.Integer, sa.Float)
    columns = {c.name: 0 if isinstance(c.type, numbers) else "" for c in metadata.tables[table].c if not c.nullable}
    with store.database.write() as conn:
        conn.execute(metadata.tables[table].insert(), {**columns, **values})


def _breaks(world: World, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        world.watch.check()


def test_a_guest_that_runs_twice(world: World) -> None:
    for name in ("h1", "h2"):
        world.machines[name].guests.put(RUNNING)
    _breaks(world, "promise 1: u runs on")


def test_two_placements_that_may_run(world: World, store: Store) -> None:
    for name in ("h1", "h2"):
        _insert(store, "allocation", instance_uuid="u", host=name, epoch=1, state="permitted")
    world.watch.committed()
    _breaks(world, "promise 1: may run in two places")


@pytest.mark.parametrize(
    ("policy", "most", "hosts", "broken"),
    [
        ("affinity", 1, ("h1", "h1"), ""),
        ("affinity", 1, ("h1", "h2"), "group g is not kept together"),
        ("anti-affinity", 1, ("h1", "h2"), ""),
        ("anti-affinity", 1, ("h1", "h1"), "group g is not kept apart"),
        ("anti-affinity", 2, ("h1", "h1"), ""),
    ],
)
def test_a_group_that_is_where_it_must_not_be(
    world: World, store: Store, policy: str, most: int, hosts: tuple[str, ...], broken: str
) -> None:
    _insert(store, "server_group", id="g", name="g", policy=policy, max_per_host=most)
    for number, host in enumerate(hosts):
        _insert(store, "allocation", instance_uuid=f"i{number}", host=host, group_id="g", group_slot=number)
        _insert(store, "server_group_member", group_id="g", instance_uuid=f"i{number}")
    world.watch.committed()
    if broken:
        _breaks(world, f"promise 2: {broken}")
    else:
        world.watch.check()


@pytest.mark.parametrize(("first", "second", "sound"), [(4, 5, True), (4, 4, False), (4, 3, False)])
def test_cpus_that_two_hold_or_that_are_not_given_out(
    world: World, store: Store, first: int, second: int, *, sound: bool
) -> None:
    for number, cpu in enumerate((first, second)):
        held = codec.to_json(HardwareClaim(cells=(CellClaim(cell=0, vcpus=1, memory_mib=1, cpus=(cpu,)),)))
        _insert(store, "allocation", instance_uuid=f"i{number}", host="h1", hardware=held)
    world.watch.committed()
    if sound:
        world.watch.check()
    else:
        _breaks(world, "promise 2: dedicated CPUs of h1")


def test_a_host_with_more_claims_than_room(world: World, store: Store) -> None:
    _insert(store, "host_capacity", host="h1", used_vcpus=2, total_vcpus=1)
    world.watch.committed()
    _breaks(world, "promise 2")


def test_a_guest_destroyed_without_a_record(world: World, store: Store) -> None:
    guests = world.machines["h1"].guests
    guests.put(RUNNING)
    guests.power_cut()
    guests.delete("u")
    _breaks(world, "promise 4: u of epoch 1 was destroyed")


def test_a_guest_that_a_record_of_another_epoch_does_not_name(world: World, store: Store) -> None:
    _insert(store, "allocation", instance_uuid="u", host="h1", epoch=1, state="leaving")
    guests = world.machines["h1"].guests
    guests.put(replace(RUNNING, epoch=1))
    guests.delete("u")
    world.watch.check()
    guests.put(replace(RUNNING, epoch=2))
    guests.delete("u")
    _breaks(world, "promise 4: u of epoch 2")


def test_a_foreign_domain_that_is_changed(world: World) -> None:
    guests = world.machines["h1"].guests
    foreign = guests.get(f"{FOREIGN}-h1")
    assert foreign is not None
    guests.put(replace(foreign, power_state=PowerState.SHUTDOWN))
    _breaks(world, "promise 4: foreign-h1 on h1 is not ours")


def test_a_guest_stopped_by_nobody(world: World) -> None:
    guests = world.machines["h1"].guests
    guests.put(RUNNING)
    guests.put(GUEST)
    _breaks(world, "promise 5")


def test_a_guest_started_more_often_than_asked(world: World, store: Store) -> None:
    _insert(store, "operation", id="o", instance_uuid="u", action="build", attempt=1)
    guests = world.machines["h1"].guests
    guests.put(replace(RUNNING, boots=1))
    world.watch.check()
    guests.put(replace(RUNNING, boots=2))
    _breaks(world, "promise 6")


def test_two_agents_on_one_machine_may_start_a_guest_once_more_and_on_no_other(world: World, store: Store) -> None:
    _insert(store, "operation", id="o", instance_uuid="u", action="build", attempt=1)
    world.watch.twinned(world.machines["h1"].host)
    guests = world.machines["h1"].guests
    guests.put(replace(RUNNING, boots=2))
    world.watch.check()
    guests.put(replace(RUNNING, boots=3))
    _breaks(world, "promise 6")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"unfinished": 1}, "promise 3: stuck"),
        ({"state": "failed"}, "promise 7: build o failed without a reason"),
        ({"state": "failed", "error": '{"code":"Internal","message":"?"}'}, "promise 7: build o failed by Internal"),
        ({"finished_at": "2030-01-02T00:00:00.000000Z"}, "promise 3: build o took"),
    ],
)
def test_an_operation_that_ends_badly(world: World, store: Store, values: dict[str, object], words: str) -> None:
    world.start_all()
    at = "2030-01-01T00:00:00.000000Z"
    base = {"id": "o", "instance_uuid": "u", "action": "build", "created_at": at, "finished_at": at}
    _insert(store, "operation", **{**base, **values})
    with pytest.raises(AssertionError, match=words):
        at_rest(world, ())


def test_a_refusal_without_a_type(world: World) -> None:
    world.start_all()
    with pytest.raises(AssertionError, match="was refused by Internal"):
        at_rest(world, [(Action.STOP, "Internal")])

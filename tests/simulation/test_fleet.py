"""Fifty seeds of bad weather: messages are lost, doubled and late, processes are killed at any switch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from drover import errors, retry
from drover.db import catalog
from drover.db import image as images
from drover.objects.catalog import Flavor, Image, ImageStatus, Network, NetworkKind
from drover.objects.instance import CreateRequest, InstanceFilter
from drover.rpc import conductor
from drover.rpc.context import RequestContext
from drover.rpc.contract import client
from drover.states import Action
from tests.simulation.kernel import EPOCH, Incarnation, SimRuntime
from tests.simulation.promises import at_rest, at_switch
from tests.simulation.world import World

T = TypeVar("T")

SEEDS = int(os.environ.get("DROVER_SEEDS", "50"))
FIRST_SEED = int(os.environ.get("DROVER_FIRST_SEED", "1"))

CTX = RequestContext(request_id="req-simulation")
STORM_S = 90.0
#: after the storm everything must end within its budgets
CALM_S = 2000.0


def prepare(world: World) -> None:
    """A flavor, an image and a network."""
    with world.database.write() as conn:
        catalog.put_flavor(conn, Flavor(id="f", name="small", vcpus=1, memory_mib=512, disk_gib=1, created_at=EPOCH))
        image = Image(
            id="00000000-0000-0000-0000-0000000000aa",
            name="img",
            status=ImageStatus.ACTIVE,
            url="http://127.0.0.1/i",
            created_at=EPOCH,
        )
        images.add(conn, image, EPOCH)
        catalog.put_network(
            conn,
            Network(
                id="n",
                name="net",
                kind=NetworkKind.NAT,
                cidr="10.1.0.0/24",
                gateway="10.1.0.1",
                bridge="drvn",
                first="10.1.0.2",
                last="10.1.0.254",
                mac_index=1,
                created_at=EPOCH,
            ),
        )


class Users:
    """Clients that create, and use verbs on what they find; each repeats a request until it gets an answer."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runtime = SimRuntime(world.kernel, Incarnation("users"))
        self.bus = world.bus.attach("users", self.runtime)
        self.api = client(conductor.CONTRACT, self.bus)
        self.active = 0
        self.created = 0

    def begin(self, count: int) -> None:
        for number in range(count):
            self.active += 1
            self.runtime.spawn(f"user{number}", lambda number=number: self._use(number))  # type: ignore[misc]

    def _use(self, number: int) -> None:
        random = self.world.kernel.random
        try:
            self.runtime.sleep(random.random() * 20)
            count = 1 + random.randrange(3)
            request = CreateRequest(
                name=f"vm{number}",
                flavor="small",
                image="img",
                networks=("net",),
                count=count,
                idempotency_key=f"k{number}",
            )
            reply = self._insist(lambda: self.api.instance_create(CTX, request))
            self.created += len(reply.instance_uuids)
            for step in range(random.randrange(4)):
                self.runtime.sleep(random.random() * 25)
                self._verb(reply.instance_uuids[random.randrange(count)], f"k{number}-{step}")
        finally:
            self.active -= 1

    def _verb(self, uuid: str, key: str) -> None:
        verbs = (Action.STOP, Action.START, Action.REBOOT, Action.REBOOT, Action.DELETE)
        action = verbs[self.world.kernel.random.randrange(len(verbs))]
        params = {"type": ("soft", "hard")[self.world.kernel.random.randrange(2)]} if action is Action.REBOOT else {}
        try:
            self._insist(lambda: self.api.instance_action(CTX, uuid, action, params, key))
        except (errors.Conflict, errors.NotFound):
            return  # busy, in another state, or deleted: a user's everyday answer

    def _insist(self, request: Callable[[], T]) -> T:
        return retry.while_unavailable(self.runtime, request, patience_s=5000.0)


def storm(world: World) -> None:
    """Kill and restart processes at random moments, and let messages be lost, doubled and late."""
    random = world.kernel.random
    world.weather.loss, world.weather.duplicates, world.weather.delays = 0.08, 0.05, 0.1
    names = ["conductor", "scheduler", *world.hosts]
    until = world.kernel.now_s + STORM_S
    while world.kernel.now_s < until:
        world.kernel.run_for(random.random() * 8)
        name = names[random.randrange(len(names))]
        world.kill(name)
        world.kernel.run_for(random.random() * 6)
        world.start(name)
    world.weather.loss = world.weather.duplicates = world.weather.delays = 0.0


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_nothing_is_stuck_lost_or_doubled(seed: int) -> None:
    world = World(seed, check=at_switch)
    try:
        prepare(world)
        world.start_all()
        users = Users(world)
        users.begin(8)
        storm(world)
        world.kernel.run_until(lambda: users.active == 0, CALM_S, "users are answered")
        world.kernel.run_until(lambda: _settled(world), CALM_S, "every operation ends")
        world.kernel.run_for(60)  # what is left behind is cleaned up
        at_rest(world)
        assert users.created > 0
        unexpected = [words for words, _ in world.kernel.failures]
        assert not unexpected, "\n".join(unexpected)
    finally:
        world.close()


def _settled(world: World) -> bool:
    if world.kernel.switches % 50:
        return False
    with world.database.read() as conn:
        from drover.db import operation
        from drover.objects.operation import OperationFilter

        query = OperationFilter(unfinished=True, all_projects=True, limit=1)
        return not operation.page(conn, query, instance_uuid="", project_id="")


def test_a_seed_replays_exactly() -> None:
    def run() -> tuple[int, float, str]:
        world = World(7)
        try:
            prepare(world)
            world.start_all()
            users = Users(world)
            users.begin(4)
            storm(world)
            with world.database.read() as conn:
                from drover.db import instance

                rows = instance.page(conn, InstanceFilter(limit=100, all_projects=True), project_id="")
            state = ",".join(f"{i.name}:{i.vm_state}:{i.host}:{i.epoch}" for i in rows)
            return world.kernel.switches, world.kernel.now_s, state
        finally:
            world.close()

    assert run() == run()

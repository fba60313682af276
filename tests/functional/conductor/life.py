"""An instance taken to a state, and through a verb, with the test in the place of host and scheduler."""

from __future__ import annotations

from collections.abc import Callable

from conductor import effect
from conductor.effect import Owner, Vm
from drover.db import claim, image, instance
from drover.objects.host import Resources
from drover.objects.instance import Instance
from drover.objects.operation import Operation
from drover.objects.sync import Gone, Order, SyncReply
from drover.states import VERBS, Action, PowerState, VmState
from tests.functional.conductor.conftest import CTX, Fleet, PlayedAgent

__all__ = ["PARAMS", "Life"]

#: what a verb must be told
PARAMS: dict[Action, dict[str, str]] = {
    Action.REBOOT: {"type": "hard"},
    Action.SNAPSHOT: {"name": "kept"},
}


class Life:
    """Instance ``vm`` on h1, active."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.agent = fleet.agent()
        reply = fleet.create()
        fleet.place(reply)
        self.uuid = reply.instance_uuids[0]
        self.done(self.order())

    def show(self) -> Instance:
        return self.fleet.api.instance_show(CTX, self.uuid)

    def ask(self, action: Action, **params: str) -> Operation:
        return self.fleet.api.instance_action(CTX, "vm", action, {**PARAMS.get(action, {}), **params})

    def operation(self, op: Operation) -> Operation:
        return self.fleet.api.operation_show(CTX, op.id)

    def order(self, agent: PlayedAgent | None = None) -> Order:
        [order] = (agent or self.agent).sync().orders
        return order

    def done(self, order: Order, agent: PlayedAgent | None = None) -> SyncReply:
        """The host does it, and its depot has what it uploads."""
        agent = agent or self.agent
        assert agent.begin(order)
        if order.upload is not None:
            self.fill(order.upload.image_id)
        return agent.end(order)

    def fill(self, image_id: str) -> None:
        with self.fleet.database.write() as conn:
            assert image.activate(conn, image_id, size_bytes=7, virtual_size_bytes=7, sha256="ab" * 32)

    def place(self, op: Operation, host: str = "h1") -> None:
        """What a scheduler does with an operation that waits for a host."""
        ask = Resources(vcpus=1, memory_mib=512, disk_gib=1)
        request = claim.Claim(
            operation_id=op.id, attempt=op.attempt, instance_uuid=self.uuid, candidates=(host,), ask=ask
        )
        with self.fleet.database.write() as conn:
            [outcome] = claim.claim(conn, [request], self.fleet.runtime.clock.now())
        assert outcome.state is claim.ClaimState.CLAIMED

    def put(self, vm_state: VmState, power_state: PowerState = PowerState.RUNNING) -> None:
        """Set a state by hand; a shelved instance is shelved as it is always."""
        if vm_state is VmState.SHELVED_OFFLOADED:
            self.ask(Action.SHELVE)
            self.done(self.order())
            return
        now = self.fleet.runtime.clock.now()
        with self.fleet.database.write() as conn:
            change = Vm(instance_uuid=self.uuid, vm_state=vm_state, power_state=power_state)
            effect.apply(conn, [change], Owner("test", now, now))

    def put_for(self, action: Action) -> None:
        """A state from which *action* may begin."""
        self.put(VmState.ACTIVE if VmState.ACTIVE in VERBS[action].legal else min(VERBS[action].legal))

    def change(self, **columns: object) -> None:
        with self.fleet.database.write() as conn:
            instance.change(conn, [self.uuid], **columns)

    def leave(self) -> SyncReply:
        """The host is told what to leave, and says that it is gone."""
        told = self.agent.sync().leaving
        return self.agent.sync(gone=tuple(Gone(instance_uuid=it.instance_uuid, epoch=it.epoch) for it in told))

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Until *condition* holds; the reaper works meanwhile."""
        clock = self.fleet.runtime.clock
        deadline = clock.monotonic() + 60
        while not condition():
            assert clock.monotonic() < deadline, what
            self.fleet.runtime.sleep(0.02)

"""One machine with one guest, one order for it, and agents that come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from agent.claims import Claims
from agent.journal import Journal
from agent.operations import STEPS
from agent.operations.left import discard_left
from agent.operations.runner import Runner
from agent.operations.step import Attempt
from agent.operations.token import Reason, Token
from agent.state_dir import MemoryStateDir
from agent.virt.driver import Backend
from drover.objects.guest import UploadTarget
from drover.objects.host import Resources
from drover.objects.sync import Order, Outcome, Result
from drover.states import VERBS, Action, PoolKind, PowerState, VmState
from tests.contract.virt.spec import make_order, make_spec, some_uuid
from tests.unit.agent.hypervisor import FakeImages, Hypervisor, Killed, Machine
from tests.unit.agent.manual import jumping_runtime

__all__ = ["BUDGET_S", "Scene", "Script", "no_watch"]

BUDGET_S = 300.0


def no_watch(number: int, when: str) -> None:
    """Nothing happens at any call."""


@dataclass(slots=True)
class Script:
    """Calls *act* at one point, once."""

    point: str = ""
    act: Callable[[], None] = lambda: None

    def hit(self, name: str) -> None:
        if name == self.point:
            self.point = ""
            self.act()


class Scene:
    """A guest in *vm_state* and an order with *params* for it. Begins without an agent."""

    def __init__(self, action: Action, vm_state: VmState, **params: str) -> None:
        self.runtime, self.clock = jumping_runtime()
        self.state_dir = MemoryStateDir()
        self.machine = Machine()
        self.machine.arrange(vm_state)
        self.before = replace(self.machine)
        self.vm_state = vm_state
        spec = make_spec()
        if action is Action.REBUILD:
            spec = replace(spec, image=replace(spec.image, id=some_uuid(998)))
        self.order = replace(
            make_order(action, spec),
            params=params,
            budget_s=BUDGET_S,
            rescue_image=spec.image,
            upload=UploadTarget(image_id=some_uuid(997), url="http://depot", token="t", chunk_bytes=1),
        )
        self.script = Script()
        self.watch: Callable[[int, str], None] = no_watch
        self.alive = True  # the lease holds
        self.token: Token | None = None
        self.driver = Hypervisor(self.machine, no_watch)  # of the last incarnation

    def lose_journal(self) -> None:
        self.state_dir = MemoryStateDir()

    def live(self, order: Order | None = None) -> Result | None:
        """One incarnation of the agent, which gets *order* (this scene's), runs it to its end, or is killed.

        :raises Killed: it died.
        """
        order = order or self.order
        journal = Journal(self.runtime, self.state_dir)
        journal.open()
        if journal.results():
            return journal.results()[0]
        discard_left(Hypervisor(self.machine, no_watch), journal)
        driver = self.driver = Hypervisor(self.machine, self.watch)
        self.token = Token(self.runtime, self.clock.monotonic() + order.budget_s)
        attempt = Attempt(
            order=order,
            token=self.token,
            leave=_Leave(self, self.token),
            backend=Backend(driver=driver, images=FakeImages(driver)),
            claims=Claims(self.runtime, "h1", Resources(vcpus=9, memory_mib=9999, disk_gib=9)),
            stop_timeout_s=60.0,
            resumed=journal.was_begun((order.operation_id, order.attempt)),
        )
        return Runner(self.runtime, journal, self.script).run(attempt, STEPS[order.action])

    def dies(self) -> None:
        with pytest.raises(Killed):
            self.live()
        self.script, self.watch = Script(), no_watch
        self.machine.leased = False

    def cancel(self, reason: Reason) -> None:
        assert self.token is not None
        self.token.set(reason)

    # what must hold

    def check_done(self, result: Result | None, *, most_boots: int = 1) -> None:
        assert result is not None
        assert result.outcome is Outcome.SUCCEEDED, result.error
        machine = self.machine
        end = VERBS[self.order.action].end or self.vm_state
        wanted = {
            VmState.ACTIVE: (PowerState.RUNNING, False, False),
            VmState.STOPPED: (PowerState.SHUTDOWN, False, False),
            VmState.PAUSED: (PowerState.PAUSED, False, False),
            VmState.SUSPENDED: (PowerState.SHUTDOWN, True, False),
            VmState.RESCUED: (PowerState.RUNNING, False, True),
            VmState.SHELVED_OFFLOADED: (PowerState.SHUTDOWN, False, False),
            VmState.SOFT_DELETED: (PowerState.SHUTDOWN, False, self.vm_state is VmState.RESCUED),
        }
        if end is VmState.DELETED:
            assert machine.guest is None
            assert result.clean
        else:
            assert machine.guest is not None
            assert (machine.guest.power_state, machine.guest.saved, machine.guest.rescue) == wanted[end]
            assert result.power_state is machine.guest.power_state
            assert machine.rescue_disk == machine.guest.rescue
            assert not result.clean
        assert machine.snapshots == set()
        assert machine.sent == (VERBS[self.order.action].pool is PoolKind.SNAPSHOT)
        assert machine.boots <= most_boots

    def check_taken_back(self) -> None:
        """A verb whose changes all have an undo left everything as it was, but for memory that a stop took."""
        machine, before = self.machine, self.before
        assert machine.snapshots == set()
        if not any(step.undo for step in STEPS[self.order.action]):
            return
        assert (machine.guest is None) == (before.guest is None)
        assert machine.on == before.on
        assert machine.rescue_disk == before.rescue_disk
        if machine.guest is not None and before.guest is not None:
            assert machine.guest.rescue == before.guest.rescue

    def check_not_stuck(self) -> None:
        """Whatever is left, a delete takes it away."""
        self.script, self.watch = Script(), no_watch
        self.lose_journal()
        result = self.live(make_order(Action.DELETE, make_spec()))
        assert result is not None
        assert result.clean
        assert self.machine.guest is None
        assert self.machine.disk is None
        assert not self.machine.rescue_disk


class _Leave:
    def __init__(self, scene: Scene, token: Token) -> None:
        self._scene = scene
        self._token = token

    def permit(self) -> None:
        self._token.check()

    def lease(self) -> None:
        self._token.check()
        self._scene.machine.leased = True

    def alive(self) -> bool:
        self._scene.machine.leased = self._scene.alive
        return self._scene.alive

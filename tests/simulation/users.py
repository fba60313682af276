"""Clients: one for each instance name, asking in the order of the plan, each repeating until it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

from drover import errors, retry
from drover.objects.group import Hints
from drover.objects.instance import CreateRequest
from drover.objects.operation import Operation
from drover.rpc import conductor
from drover.rpc.contract import client
from drover.states import Action
from tests.simulation.admin import CTX
from tests.simulation.kernel import Incarnation
from tests.simulation.plan import Request
from tests.simulation.runtime import SimRuntime
from tests.simulation.weather import USERS
from tests.simulation.world import World

__all__ = ["Users"]

T = TypeVar("T")

#: a user's patience with a fleet that does not answer, and with one operation
_PATIENCE_S = 5000.0


class Users:
    """Begins with :meth:`begin`; everybody has an answer when :attr:`active` is 0."""

    def __init__(self, world: World) -> None:
        self.active = 0
        #: what became of the requests: an action and the code of its refusal, or "accepted"
        self.answers: list[tuple[Action, str]] = []
        self._world = world
        self._runtime = SimRuntime(world.kernel, Incarnation(USERS))
        bus = world.bus.attach(USERS, self._runtime)
        self._api = client(conductor.CONTRACT, bus)
        self._waiting = client(conductor.WAIT_CONTRACT, bus)

    def begin(self, requests: Sequence[Request]) -> None:
        """Ask each in its time, or later if the answer before took longer."""
        for _, each in groupby(sorted(requests, key=lambda r: (r.name, r.at_s)), key=lambda r: r.name):
            mine = list(each)
            self.active += 1
            self._runtime.spawn("user", lambda mine=mine: self._use(mine))  # type: ignore[misc]

    def _use(self, requests: Sequence[Request]) -> None:
        pending: tuple[str, ...] = ()
        for number, request in enumerate(requests):
            self._runtime.sleep(request.at_s - self._world.kernel.now_s)
            if request.wait and pending:
                self._await(pending)
            try:
                pending = self._ask(request, f"{request.name}/{number}") or pending
            except errors.DroverError as exc:
                self._answered(request, exc.code)
            else:
                self._answered(request, "accepted")
        self.active -= 1

    def _answered(self, request: Request, answer: str) -> None:
        self._world.kernel.note(f"user {request.name} {request.action} {answer}")
        self.answers.append((request.action, answer))

    def _ask(self, request: Request, key: str) -> tuple[str, ...]:
        """The operations it began.

        :raises errors.DroverError: it was refused.
        """
        if request.action is Action.BUILD:
            wanted = CreateRequest(
                name=request.name,
                flavor=request.flavor,
                image="img",
                networks=("net",),
                count=request.count,
                hints=Hints(group=request.group),
                idempotency_key=key,
            )
            return self._insist(lambda: self._api.instance_create(CTX, wanted)).operation_ids
        operation: Operation = self._insist(
            lambda: self._api.instance_action(CTX, request.name, request.action, dict(request.params), key)
        )
        return (operation.id,)

    def _await(self, ids: tuple[str, ...]) -> None:
        """Until they ended, or are unknown (to a restored database)."""
        try:
            while not self._insist(lambda: self._waiting.operation_wait(CTX, ids, 30.0)).done:
                pass
        except errors.NotFound:
            return

    def _insist(self, request: Callable[[], T]) -> T:
        return retry.while_unavailable(self._runtime, request, patience_s=_PATIENCE_S)

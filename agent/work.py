"""One order in the agent's memory."""

from __future__ import annotations

from agent.journal import Key
from agent.operations.token import Reason, Token
from drover.objects.sync import Order
from drover.runtime import Runtime
from drover.states import VERBS, PoolKind

__all__ = ["Work"]


class Work:
    """An order, its token, and where its conversation with the conductor stands.

    The removal that a ``leaving`` record asks for is an order without an operation id: it is not reported as
    held, and has no result.
    """

    __slots__ = ("answered", "begun", "confirmed", "order", "permit_wanted", "permitted", "token", "told")

    def __init__(self, runtime: Runtime, order: Order) -> None:
        self.order = order
        self.token = Token(runtime, runtime.clock.monotonic() + order.budget_s)
        self.answered = runtime.event()  # the permit was answered, or the order cancelled
        self.confirmed = False  # may run: a sync brought it, or left it undropped, or its first steps are reversible
        self.begun = False
        self.told = False  # the conductor knows that it began
        self.permit_wanted = False
        self.permitted = False

    @property
    def key(self) -> Key:
        return (self.order.operation_id, self.order.attempt)

    @property
    def pool(self) -> PoolKind:
        return VERBS[self.order.action].pool

    @property
    def is_removal(self) -> bool:
        return not self.order.operation_id

    def cancel(self, reason: Reason) -> None:
        """Stop at the next boundary, or inside the step if it waits."""
        self.token.set(reason)
        self.answered.set()

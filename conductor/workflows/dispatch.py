"""What schedulers tell: operations that have a host, and those that no host can take."""

from __future__ import annotations

from collections.abc import Sequence

from conductor import effect
from conductor.core import Core
from conductor.plan.room import plan_unplaceable
from conductor.points import Commit
from drover import log, retry
from drover.db import decision, instance, operation
from drover.objects.operation import Operation
from drover.runtime.joiner import Joiner
from drover.states import OperationState

__all__ = ["DispatchWorkflow"]

LOG = log.get(__name__)


class DispatchWorkflow:
    """``dispatched`` and ``unplaceable`` of the contract: nudges, read against the database."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._joiner: Joiner[Sequence[str], None] = Joiner(
            core.runtime, self._hand_out, window_s=core.times.join_window_s
        )

    def dispatched(self, operation_ids: Sequence[str]) -> None:
        """Hand out the orders of operations that a scheduler claimed hosts for."""
        self._joiner.submit(operation_ids)

    def _hand_out(self, batches: Sequence[Sequence[str]]) -> list[Exception | None]:
        with self._core.transaction(Commit.DISPATCH) as conn:
            found = operation.find(conn, (each for batch in batches for each in batch)).values()
            ready = [op for op in found if op.state is OperationState.DISPATCHED]
            orders = self._core.orders.hand_out(conn, ready)
        self._core.send(ready, orders)
        return [None for _ in batches]

    def unplaceable(self, operation_ids: Sequence[str]) -> None:
        """Fail operations whose stored decision says that no host can take them, or let them wait for room."""
        applied = retry.while_busy(self._core.runtime, lambda: self._settle(operation_ids))
        self._core.after(applied)

    def _settle(self, operation_ids: Sequence[str]) -> effect.Applied:
        core = self._core
        with core.transaction(Commit.UNPLACEABLE) as conn:
            found = operation.find(conn, operation_ids, lock=True)
            decisions = decision.latest(conn, found)
            instances = instance.find(conn, (op.instance_uuid for op in found.values()))
            owner = core.owner()
            effects: list[effect.Effect] = []
            for op in found.values():
                hints = instances[op.instance_uuid].hints
                planned = plan_unplaceable(op, hints, decisions.get(op.id), owner.now)
                for each in planned:
                    _say(op, each)
                effects += planned
            return effect.apply(conn, effects, owner)


def _say(op: Operation, what: effect.Effect) -> None:
    match what:
        case effect.Finish(error=error) if error is not None:
            LOG.info("no valid host", operation=op.id, instance=op.instance_uuid, reason=error.message)
        case effect.Wait(words=words):
            LOG.info("waits for room", operation=op.id, instance=op.instance_uuid, reason=words)

"""What schedulers tell: operations that have a host, and those that no host can take."""

from __future__ import annotations

from collections.abc import Sequence

from conductor import effect
from conductor.core import Core
from conductor.plan.sync import failed, info
from conductor.points import Commit
from drover import errors, log, retry
from drover.db import decision, operation
from drover.objects.operation import Decision, Operation
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
        """Fail operations whose stored decision says that no host can take them."""
        applied = retry.while_busy(self._core.runtime, lambda: self._fail(operation_ids))
        self._core.after(applied)

    def _fail(self, operation_ids: Sequence[str]) -> effect.Applied:
        with self._core.write() as conn:
            found = operation.find(conn, operation_ids, lock=True)
            effects: list[effect.Effect] = []
            for op in found.values():
                if op.state is not OperationState.SCHEDULING:
                    continue
                decisions = [d for d in decision.of_operation(conn, op.id) if d.attempt == op.attempt]
                if not decisions or decisions[-1].chosen:
                    continue
                error = info(_refusal(op, decisions[-1]))
                LOG.info("no valid host", operation=op.id, instance=op.instance_uuid, reason=error.message)
                effects += failed(op, error)
            return effect.apply(conn, effects, self._core.owner())


def _refusal(op: Operation, decision_: Decision) -> errors.NoValidHost:
    """In one line: how many hosts there were, and what each filter took."""
    left = decision_.funnel[0][1] if decision_.funnel else 0
    lost: list[str] = []
    for name, remaining in decision_.funnel[1:]:
        if remaining < left:
            lost.append(f"{name} refused {left - remaining}")
        left = remaining
    total = decision_.funnel[0][1] if decision_.funnel else 0
    words = ", ".join(lost) if lost else "no hosts are registered"
    return errors.NoValidHost(
        what=op.instance_name, reason=f"of {total} hosts {words}; see: drover why {op.instance_name}"
    )

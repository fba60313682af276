"""``operation_cancel`` of the contract."""

from __future__ import annotations

from conductor import effect
from conductor.core import Core
from conductor.effect import Applied
from conductor.plan.cancel import plan_cancel
from conductor.points import Commit
from drover import errors, log, retry
from drover.db import operation, placement
from drover.objects.operation import Operation
from drover.rpc.context import RequestContext

__all__ = ["CancelWorkflow"]

LOG = log.get(__name__)


class CancelWorkflow:
    """Repeatable: who asks again gets the operation as it ended."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def cancel(self, ctx: RequestContext, ref: str) -> Operation:
        """End an operation (see the contract). A crash after the commit costs its host one sync round."""
        core = self._core
        before, after, applied = retry.while_busy(core.runtime, lambda: self._write(ctx, ref))
        if applied.finished:
            LOG.info("operation cancelled", operation=ref, action=before.action, was=before.state, user=ctx.user_id)
            core.after(applied)
            if before.host:
                core.nudge_host(before.host)
        return after

    def _write(self, ctx: RequestContext, ref: str) -> tuple[Operation, Operation, Applied]:
        with self._core.transaction(Commit.CANCEL) as conn:
            before = operation.find(conn, [ref], lock=True).get(ref)
            if before is None:
                raise errors.OperationNotFound(ref=ref)
            placements = placement.find_of_instances(conn, [before.instance_uuid], lock=True)
            effects = plan_cancel(before, placements.get(before.instance_uuid, ()), ctx.user_id)
            applied = effect.apply(conn, effects, self._core.owner())
            return before, operation.find(conn, [ref])[ref], applied

"""``instance_update``: changes of an instance's record that need nothing of its host."""

from __future__ import annotations

from conductor.core import Core
from conductor.plan.update import plan_update
from drover import errors, log, retry
from drover.db import instance
from drover.objects.instance import Instance
from drover.objects.update import InstanceUpdate
from drover.rpc.context import RequestContext

__all__ = ["UpdateWorkflow"]

LOG = log.get(__name__)


class UpdateWorkflow:
    """No operation row: it is done when the answer comes, and doing it again changes nothing."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def update(self, ctx: RequestContext, ref: str, update: InstanceUpdate) -> Instance:
        """See the contract. What others write meanwhile is kept: the change is decided anew on top of it."""
        after = retry.while_busy(self._core.runtime, lambda: self._write(ctx, ref, update))
        LOG.info("instance updated", request_id=ctx.request_id, instance=after.uuid, name=after.name)
        return after

    def _write(self, ctx: RequestContext, ref: str, update: InstanceUpdate) -> Instance:
        with self._core.database.write() as conn:
            before = instance.resolve(conn, ref, project_id=ctx.project_id)
            after = plan_update(before, update)
            if after != before and not instance.swap(conn, before, after):
                raise errors.StoreBusy(detail=f"instance {before.name} was changed by another request")
            return after

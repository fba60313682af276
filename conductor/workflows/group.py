"""Server groups: rules between instances of a project."""

from __future__ import annotations

from dataclasses import replace

from conductor.core import Core
from conductor.rule.group import check_group
from drover import errors, log, retry
from drover.db import server_group
from drover.objects.group import ServerGroup
from drover.rpc.context import RequestContext

__all__ = ["GroupWorkflow"]

LOG = log.get(__name__)


class GroupWorkflow:
    """The groups' part of the contract. Members come with ``instance_create``."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, ctx: RequestContext, asked: ServerGroup) -> ServerGroup:
        """See the contract."""
        check_group(asked)
        core = self._core
        new = replace(
            asked,
            id=asked.id or core.runtime.uuid(),
            project_id=ctx.project_id,
            members=(),
            created_at=core.runtime.clock.now(),
        )
        with core.database.write() as conn:
            server_group.add(conn, new)
        LOG.info("server group created", group=new.name, id=new.id, policy=new.policy, request_id=ctx.request_id)
        return new

    def list(self, ctx: RequestContext) -> tuple[ServerGroup, ...]:
        with self._core.database.read() as conn:
            return server_group.list_all(conn, ctx.project_id)

    def show(self, ctx: RequestContext, ref: str) -> ServerGroup:
        with self._core.database.read() as conn:
            return server_group.get(conn, ctx.project_id, ref)

    def delete(self, ctx: RequestContext, ref: str) -> ServerGroup:
        """See the contract."""
        try:
            gone = retry.while_busy(self._core.runtime, lambda: self._delete(ctx, ref))
        except errors.StoreConflict:  # an instance was created in it just now; the second try sees that
            gone = retry.while_busy(self._core.runtime, lambda: self._delete(ctx, ref))
        LOG.info("server group deleted", group=gone.name, members=len(gone.members), request_id=ctx.request_id)
        self._core.room.came()  # a member that waits has one rule less
        return gone

    def _delete(self, ctx: RequestContext, ref: str) -> ServerGroup:
        with self._core.database.write() as conn:
            it = server_group.get(conn, ctx.project_id, ref)
            server_group.remove(conn, it.id)
            return it

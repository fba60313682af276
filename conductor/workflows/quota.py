"""Quotas of projects: set, shown, listed. They are enforced where instances are created."""

from __future__ import annotations

from conductor.core import Core
from conductor.rule.quota import check_change
from drover import errors, log
from drover.db import quota
from drover.objects.quota import Quota, QuotaChange
from drover.rpc.context import RequestContext

__all__ = ["QuotaWorkflow"]

LOG = log.get(__name__)

#: as long as a project's name may be
LONGEST_PROJECT = 64


class QuotaWorkflow:
    """The quotas' part of the contract."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def set(self, ctx: RequestContext, project: str, change: QuotaChange) -> Quota:
        """See the contract."""
        if not 0 < len(project) <= LONGEST_PROJECT:
            raise errors.InvalidName(name=project, what="project", reason=f"it has 1 to {LONGEST_PROJECT} characters")
        limits = check_change(change)
        with self._core.database.write() as conn:
            quota.put(conn, project, limits)
            after = quota.get(conn, project)
        LOG.info("quota set", project=project, user=ctx.user_id, request_id=ctx.request_id, **limits)
        return after

    def show(self, project: str) -> Quota:
        with self._core.database.read() as conn:
            return quota.get(conn, project)

    def list(self) -> tuple[Quota, ...]:
        with self._core.database.read() as conn:
            return quota.list_all(conn)

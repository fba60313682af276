"""What others may ask of a scheduler (:class:`drover.rpc.scheduler.SchedulerAPI`)."""

from __future__ import annotations

from drover.objects.selection import Capacity, HostExplanation, RebalancePlan, SelectionReply, SelectionRequest
from drover.rpc.context import RequestContext
from scheduler.inbox import Inbox
from scheduler.query import Query

__all__ = ["SchedulerEndpoint"]


class SchedulerEndpoint:
    """Takes nudges in, for the placing task to work on, and hands questions on."""

    def __init__(self, name: str, inbox: Inbox, query: Query) -> None:
        self._name = name
        self._inbox = inbox
        self._query = query

    def schedule(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._inbox.put(operation_ids)

    def ping(self, ctx: RequestContext) -> str:
        return self._name

    def explain(self, ctx: RequestContext, operation_id: str, host: str) -> HostExplanation:
        return self._query.explain(operation_id, host)

    def select(self, ctx: RequestContext, request: SelectionRequest) -> SelectionReply:
        return self._query.select(ctx.project_id, request)

    def capacity(self, ctx: RequestContext, request: SelectionRequest) -> Capacity:
        return self._query.capacity(ctx.project_id, request)

    def rebalance(self, ctx: RequestContext, most: int = 20) -> RebalancePlan:
        return self._query.rebalance(most)

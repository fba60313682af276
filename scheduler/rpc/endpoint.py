"""What others may ask of a scheduler (:class:`drover.rpc.scheduler.SchedulerAPI`)."""

from __future__ import annotations

from drover.rpc.context import RequestContext
from scheduler.inbox import Inbox

__all__ = ["SchedulerEndpoint"]


class SchedulerEndpoint:
    """Takes nudges in; the placing task does the work."""

    def __init__(self, name: str, inbox: Inbox) -> None:
        self._name = name
        self._inbox = inbox

    def schedule(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        self._inbox.put(operation_ids)

    def ping(self, ctx: RequestContext) -> str:
        return self._name

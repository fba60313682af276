"""The scheduler's contract: topic ``scheduler``.

History: 1.0 first.
"""

from __future__ import annotations

from typing import Protocol

from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, call, cast_

__all__ = ["CONTRACT", "SchedulerAPI"]


class SchedulerAPI(Protocol):
    """What the conductor asks of a scheduler."""

    @cast_
    def schedule(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        """A nudge: these operations are in ``scheduling`` and want a host.

        Each ends in the database: claimed and ``dispatched`` (and the conductor told by ``dispatched``), or
        ``failed`` with ``NoValidHost`` and its decision. Repeats and stale ids have no effect.
        """

    @call
    def ping(self, ctx: RequestContext) -> str:
        """The scheduler's name."""


CONTRACT = Contract("scheduler", "1.0", SchedulerAPI)

"""The scheduler's contract: topic ``scheduler``.

History: 1.0 first.
"""

from __future__ import annotations

from typing import Protocol

from drover.objects.selection import Capacity, HostExplanation, RebalancePlan, SelectionReply, SelectionRequest
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, call, cast_

__all__ = ["CONTRACT", "SchedulerAPI"]


class SchedulerAPI(Protocol):
    """What conductors tell a scheduler, and what operators ask it.

    Questions change nothing.  A scheduler answers one at a time, beside its placing; another one meanwhile is
    refused with the retryable :class:`drover.errors.Unavailable`.
    """

    @cast_
    def schedule(self, ctx: RequestContext, operation_ids: tuple[str, ...]) -> None:
        """A nudge: these operations are in ``scheduling`` and want a host.

        Each ends in the database: claimed and ``dispatched`` (and the conductor told by ``dispatched``), or
        ``failed`` with ``NoValidHost`` and its decision. Repeats and stale ids have no effect.
        """

    @call
    def ping(self, ctx: RequestContext) -> str:
        """The scheduler's name."""

    @call
    def explain(self, ctx: RequestContext, operation_id: str, host: str) -> HostExplanation:
        """How *host* stands to the request of an operation: by its kept decisions, and by every rule now.

        :raises drover.errors.OperationNotFound: or it places nothing. HostNotFound.
        """

    @call
    def select(self, ctx: RequestContext, request: SelectionRequest) -> SelectionReply:
        """Where such instances would go now. Nothing is claimed, so the next claim may change the answer.

        :raises drover.errors.InvalidCount: not 1 to 1,000. FlavorNotFound, ImageNotFound, AmbiguousName,
            ServerGroupNotFound, InstanceNotFound, HostNotFound, InvalidFlavor.
        """

    @call
    def capacity(self, ctx: RequestContext, request: SelectionRequest) -> Capacity:
        """How many more such instances fit; ``request.count`` does not matter.

        :raises drover.errors.DroverError: as :meth:`select`.
        """

    @call
    def rebalance(self, ctx: RequestContext, most: int = 20) -> RebalancePlan:
        """At most *most* (1 to 100) moves that even the load out. A plan, which nobody carries out.

        :raises drover.errors.BadInput: *most* is out of bounds.
        """


CONTRACT = Contract("scheduler", "1.0", SchedulerAPI)

"""The agent's contract: topic ``agent``, one server per host name.

History: 1.0 first; 1.1 diagnostics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drover.objects.guest import Diagnostics
from drover.objects.sync import Order
from drover.rpc.context import RequestContext
from drover.rpc.contract import Contract, call, cast_

__all__ = ["CONTRACT", "AgentAPI", "ConsoleLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLog:
    """The end of a guest's serial console; bytes that are no UTF-8 are replaced."""

    text: str
    truncated: bool = False


class AgentAPI(Protocol):
    """What others may ask of one host's agent."""

    @cast_
    def execute(self, ctx: RequestContext, orders: tuple[Order, ...]) -> None:
        """A nudge: the orders a sync would bring, early. Reversible steps may begin at once.

        Without orders: something else changed, a sync would tell what.
        """

    @call
    def console_log(self, ctx: RequestContext, instance_uuid: str, max_bytes: int = 65536) -> ConsoleLog:
        """The last *max_bytes* (at most 1 MiB) of the serial console.

        :raises drover.errors.GuestNotFound: no such guest here.
        """

    @call
    def diagnostics(self, ctx: RequestContext, instance_uuid: str) -> Diagnostics:
        """What the hypervisor tells of one guest now.

        :raises drover.errors.GuestNotFound: no such guest here. DriverUnavailable, DriverTimeout.
        """

    @call
    def ping(self, ctx: RequestContext) -> str:
        """The host's name."""


CONTRACT = Contract("agent", "1.1", AgentAPI)

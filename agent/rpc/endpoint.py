"""What others may ask of this host."""

from __future__ import annotations

from agent.manager import Manager
from agent.virt.driver import Driver
from drover import errors
from drover.objects.guest import Diagnostics
from drover.objects.sync import Order
from drover.rpc.agent import ConsoleLog
from drover.rpc.context import RequestContext
from drover.units import MIB

__all__ = ["AgentEndpoint"]

_MOST_CONSOLE_BYTES = MIB


class AgentEndpoint:
    """Implements :class:`drover.rpc.agent.AgentAPI`.

    :param deployment_id: ours. A guest of another one could be made here, but never be removed again.
    """

    def __init__(self, manager: Manager, driver: Driver, host: str, deployment_id: str) -> None:
        self._manager = manager
        self._driver = driver
        self._host = host
        self._deployment_id = deployment_id

    def execute(self, ctx: RequestContext, orders: tuple[Order, ...]) -> None:
        del ctx
        if any(order.spec and order.spec.deployment_id != self._deployment_id for order in orders):
            raise errors.BadRequest(method="execute", reason="an order of another deployment")
        self._manager.offer(orders)

    def console_log(self, ctx: RequestContext, instance_uuid: str, max_bytes: int = 65536) -> ConsoleLog:
        del ctx
        if max_bytes < 1:
            raise errors.BadRequest(method="console_log", reason=f"max_bytes is {max_bytes}")
        most = min(max_bytes, _MOST_CONSOLE_BYTES)
        data = self._driver.console_log(instance_uuid, most + 1)
        return ConsoleLog(text=data[-most:].decode("utf-8", "replace"), truncated=len(data) > most)

    def diagnostics(self, ctx: RequestContext, instance_uuid: str) -> Diagnostics:
        del ctx
        return self._driver.diagnostics(instance_uuid)

    def ping(self, ctx: RequestContext) -> str:
        del ctx
        return self._host

"""From a transport URL to a bus."""

from __future__ import annotations

from drover import errors
from drover.conf.bus import BusSettings
from drover.rpc.bus import Bus
from drover.runtime import Runtime

__all__ = ["connect"]


def connect(runtime: Runtime, settings: BusSettings, name: str) -> Bus:
    """The bus of ``settings.transport_url``; nothing is connected yet.

    :param name: of this process, for logs and as the name of servers that are given none.
    :raises errors.InvalidConfig: no URL of a bus.
    """
    scheme, _, rest = settings.transport_url.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        from drover.rpc.unix import UnixBus

        return UnixBus(rest)
    if scheme == "rabbit":
        # A fifth of a second and 14 MiB that a client of a socket need not pay.
        from drover.rpc.transport import RabbitBus

        return RabbitBus(runtime, settings, name=name)
    raise errors.InvalidConfig(reason="[bus] transport_url must begin with rabbit:// or unix:///")

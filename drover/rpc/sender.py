"""Who sent a message, by the broker's word, and what it may ask for that.

RabbitMQ refuses a message whose ``user_id`` is not the user that is logged in, so the property is evidence.
"""

from __future__ import annotations

from typing import Any

from drover import errors
from drover.rpc.bus import Address, Message

__all__ = ["agent_user", "check_sender"]

_PREFIX = "agent."
#: (topic, method) that an agent may ask for, and where in the arguments stands the host that it speaks for
_OF_AGENTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("conductor", "register"): ("registration", "identity", "host"),
    ("conductor", "sync"): ("request", "host"),
}


def agent_user(host: str) -> str:
    """The broker's user for the agent of *host*; other users are the control plane's, which may ask for anything."""
    return f"{_PREFIX}{host}"


def check_sender(sender: str, address: Address, message: Message) -> None:
    """:raises errors.SenderRefused: *sender* (empty: not proven) may not ask this of *address*."""
    if not sender:
        raise errors.SenderRefused(sender="nobody", method=message.method, reason="the broker does not vouch for it")
    if not sender.startswith(_PREFIX):
        return
    way = _OF_AGENTS.get((address.topic, message.method))
    if way is None:
        raise errors.SenderRefused(sender=sender, method=message.method, reason="agents may not ask for it")
    host: Any = message.args
    for name in way:
        host = host.get(name) if isinstance(host, dict) else None
    if not isinstance(host, str) or sender != agent_user(host):
        raise errors.SenderRefused(sender=sender, method=message.method, reason=f"it speaks for host {host}")

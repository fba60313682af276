"""Names on the broker: whose a queue is, and by which exchange it is reached.

Two of the broker's own exchanges are used. They are there in every vhost, after every restart, and nobody can
delete them:

- ``amq.topic`` leads to what agents read. An agent's user may bind its own keys to it, which RabbitMQ can limit
  for topic exchanges alone, and may write nothing to it.
- ``amq.direct`` leads to all other queues. An agent's user may write to it, and bind nothing to it.

So whatever queues, exchanges, bindings or dead letters an agent's user makes up, they never end in the queue of
another agent, and never show what goes there. The default exchange, by which oslo.messaging sends replies, would
let everybody who may reply write to every queue.
"""

from __future__ import annotations

__all__ = ["AGENT_TOPIC", "TO_AGENTS", "TO_OTHERS", "agent_bus", "exchange_of", "queues", "reply_queue"]

AGENT_TOPIC = "agent"
TO_AGENTS = "amq.topic"
TO_OTHERS = "amq.direct"


def agent_bus(host: str) -> str:
    """The name that the agent of *host* has on the bus."""
    return f"agent-{host}"


def reply_queue(bus: str, unique: str) -> str:
    """Where the process of the name *bus* gets its replies; *unique*: 32 hex digits."""
    return f"reply.{bus}.{unique}"


def queues(topic: str, server: str) -> tuple[str, ...]:
    """What one server of *topic* reads: requests to any server of it and to this one; of agents, only the latter."""
    own = f"{topic}.{server}"
    return (own,) if topic == AGENT_TOPIC else (topic, own)


def exchange_of(routing_key: str) -> str:
    """By which exchange the queue of this name, which is also its key, is reached."""
    to_agent = routing_key.startswith((f"{AGENT_TOPIC}.", f"reply.{agent_bus('')}"))
    return TO_AGENTS if to_agent else TO_OTHERS

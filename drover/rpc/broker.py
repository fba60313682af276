"""What RabbitMQ must know of a Drover: users, their permissions, policies, in its definitions format.

``rabbitmqctl import_definitions`` takes it, any number of times; what it does not name stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from drover import errors
from drover.rpc import route
from drover.rpc.sender import agent_user

__all__ = ["BrokerUrl", "Permissions", "agent_permissions", "control_plane", "definitions", "password_hash"]

_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z._-]{0,126}[0-9A-Za-z])?")
_HASHING = "rabbit_password_hashing_sha256"
#: how oslo.messaging ends the name of a reply queue
_UNIQUE = "[0-9a-f]{32}"
#: the one broker of a URL, or one of several: user, password, address
_NODE = re.compile(r"([^:@/,]+):([^:@/,]*)@([^@/,]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Regular expressions of names, as RabbitMQ means them: what is not matched is refused.

    :param bind: routing keys that may be bound to ``amq.topic``; empty: any.
    """

    configure: str = ".*"
    write: str = ".*"
    read: str = ".*"
    bind: str = ""


def control_plane() -> Permissions:
    """Of conductors, schedulers and operators."""
    return Permissions()


def agent_permissions(host: str) -> Permissions:
    """Of the agent of *host*: its own queue and its own replies, and requests to the control plane.

    :raises errors.InvalidName: no host name.
    """
    if not _HOST.fullmatch(host):
        raise errors.InvalidName(name=host, what="host name", reason="it has other than letters, digits, . _ and -")
    replies = re.escape(route.reply_queue(route.agent_bus(host), "")) + _UNIQUE
    own = [*map(re.escape, route.queues(route.AGENT_TOPIC, host)), replies]
    return Permissions(
        configure=_whole(own),
        write=_whole([re.escape(route.TO_OTHERS), *own]),
        read=_whole([re.escape(route.TO_AGENTS), *own]),
        bind=_whole(own),
    )


def _whole(patterns: Iterable[str]) -> str:
    return f"^({'|'.join(patterns)})$"


def password_hash(password: str, salt: bytes) -> str:
    """As RabbitMQ keeps it. *salt*: four bytes of chance."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def definitions(vhost: str, users: Iterable[tuple[str, str, Permissions]]) -> dict[str, Any]:
    """A vhost of Drover, and its *users*: name, password hash, permissions.

    Messages for an agent are nudges: a host that is away for long need not find them.
    """
    found: dict[str, Any] = {
        "vhosts": [{"name": vhost}],
        "users": [],
        "permissions": [],
        "topic_permissions": [],
        "policies": [
            {
                "vhost": vhost,
                "name": "agent",
                "pattern": r"^agent\.",
                "apply-to": "queues",
                "priority": 0,
                "definition": {"message-ttl": 60_000, "max-length": 1000},
            }
        ],
    }
    for name, hashed, leave in users:
        found["users"].append({"name": name, "password_hash": hashed, "hashing_algorithm": _HASHING, "tags": ""})
        place = {"user": name, "vhost": vhost}
        found["permissions"].append({**place, "configure": leave.configure, "write": leave.write, "read": leave.read})
        if leave.bind:
            found["topic_permissions"].append({**place, "exchange": route.TO_AGENTS, "write": "^$", "read": leave.bind})
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """A transport URL with one user on every node of the broker."""

    user: str
    password: str
    nodes: tuple[str, ...]  # host:port
    vhost: str

    @classmethod
    def parse(cls, url: str) -> BrokerUrl:
        """:raises errors.InvalidConfig: no ``rabbit://USER:PASSWORD@HOST:PORT[,…]/VHOST`` with one user."""
        scheme, _, rest = url.partition("://")
        nodes, _, vhost = rest.partition("/")
        matches = [_NODE.fullmatch(node) for node in nodes.split(",")]
        found = [match.groups() for match in matches if match]
        names = {(user, password) for user, password, _ in found}
        if scheme != "rabbit" or len(found) != len(matches) or len(names) != 1 or not vhost:
            # The text may hold a password, so it is not shown.
            reason = "[bus] transport_url must be rabbit://USER:PASSWORD@HOST:PORT/VHOST, with one user on all hosts"
            raise errors.InvalidConfig(reason=reason)
        [(user, password)] = names
        return cls(
            user=unquote(user),
            password=unquote(password),
            nodes=tuple(node for _, _, node in found),
            vhost=unquote(vhost),
        )

    def of_agent(self, host: str, password: str) -> BrokerUrl:
        """The same broker for the agent of *host*."""
        return BrokerUrl(user=agent_user(host), password=password, nodes=self.nodes, vhost=self.vhost)

    def __str__(self) -> str:
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        nodes = ",".join(f"{login}@{node}" for node in self.nodes)
        return f"rabbit://{nodes}/{quote(self.vhost, safe='')}"

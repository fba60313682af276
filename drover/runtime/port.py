"""TCP ports: whether something listens, and which are free."""

from __future__ import annotations

import random
import socket

__all__ = ["free_ports", "is_listening"]

#: below those of labs (drover.lab.port_block)
_FIRST, _LAST = 10000, 19999


def is_listening(address: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether a TCP connection to *address*:*port* is accepted within *timeout_s*."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """*count* different ports nobody listens on now; another process may still take one first.

    None of those the kernel gives to outgoing connections (32768 and up on Linux): a server that binds a few
    seconds later would find one taken by a mere client.
    """
    chance = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = chance.randrange(_FIRST, _LAST + 1)
        if port not in found and _is_free(address, port):
            found.append(port)
    return found


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError:
            return False
        return True

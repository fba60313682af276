"""TCP ports: whether something listens, and which are free."""

from __future__ import annotations

import socket

__all__ = ["free_ports", "is_listening"]


def is_listening(address: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether a TCP connection to *address*:*port* is accepted within *timeout_s*."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """*count* different ports nobody listens on now; another process may still take one first."""
    held = [socket.socket() for _ in range(count)]
    try:
        for sock in held:
            sock.bind((address, 0))
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()

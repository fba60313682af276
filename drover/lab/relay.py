"""Forwards TCP connections; optionally listens in another network namespace.

A lab's hosts have no way into the machine's own network, and nothing may be changed there.  So one process
listens on their management network and carries what comes to the broker and the depot on loopback.  Lab hosts
without namespaces get one relay each: stopping it with SIGSTOP is their cut cable.

    python -m drover.lab.relay [--namespace /proc/PID/ns/net] ADDRESS:PORT=ADDRESS:PORT …
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drover.runtime import netns

__all__ = ["Forward", "main", "parse_forward"]

_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """What comes to one address goes to another."""

    listen_address: str
    listen_port: int
    to_address: str
    to_port: int


def parse_forward(text: str) -> Forward:
    """``10.77.0.254:5672=127.0.0.1:40001``.

    :raises ValueError: anything else.
    """
    here, _, there = text.partition("=")
    listen_address, _, listen_port = here.rpartition(":")
    to_address, _, to_port = there.rpartition(":")
    if not listen_address or not to_address:
        raise ValueError(f"not ADDRESS:PORT=ADDRESS:PORT: {text!r}")
    return Forward(
        listen_address=listen_address, listen_port=int(listen_port), to_address=to_address, to_port=int(to_port)
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Forward TCP connections.")
    parser.add_argument("--namespace", type=Path, help="network namespace to listen in")
    parser.add_argument("forward", type=parse_forward, nargs="+")
    options = parser.parse_args(argv)
    asyncio.run(_serve(options.forward, options.namespace))


async def _serve(forwards: Sequence[Forward], namespace: Path | None) -> None:
    servers = [await _server(forward, namespace) for forward in forwards]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _server(forward: Forward, namespace: Path | None) -> asyncio.Server:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(forward.to_address, forward.to_port)
        except OSError:
            writer.transport.abort()  # a refused connection, as the far end would have refused it
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        writer.close()
        far_writer.close()

    listener = netns.listen(forward.listen_address, forward.listen_port, namespace)
    return await asyncio.start_server(carry, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of one direction; the other may go on (half-closed connections are legal)."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.transport.abort()


if __name__ == "__main__":
    main()

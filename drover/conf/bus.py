"""Options of the message bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["BusSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    GROUP: ClassVar[str] = "bus"

    transport_url: str = setting(
        "rabbit://drover:drover@127.0.0.1:5672/drover",
        "Where the bus is: rabbit://user:password@host:port/vhost (more hosts separated by commas), or "
        "unix:///path of a running drover standalone. The vhost is Drover's own.",
        secret=True,
    )
    rpc_timeout_s: float = setting(
        10.0, "Seconds to wait for the answer to a call. Raise it on slow or far links.", minimum=0.5, maximum=300.0
    )
    send_retries: int = setting(
        2, "Tries after the first to send a message while the broker is away, a second apart.", minimum=0, maximum=10
    )
    conn_pool_size: int = setting(
        16, "Connections for sending, per process. At least the number of threads that call at once.", minimum=2
    )
    drain_timeout_s: float = setting(
        30.0, "Seconds a stopping server waits for requests that run.", minimum=0.0, maximum=600.0
    )
    ssl: bool = setting(False, "Speak TLS to the broker; its certificate is always verified.")
    ssl_ca_file: str = setting("", "CA that signed the broker's certificate; empty: the system's.")
    ssl_cert_file: str = setting("", "Client certificate, where the broker asks for one.")
    ssl_key_file: str = setting("", "Key of the client certificate.")

"""Options of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drover.conf.settings import setting

__all__ = ["DatabaseSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    GROUP: ClassVar[str] = "database"

    connection: str = setting(
        "postgresql+psycopg://drover@127.0.0.1/drover",
        "URL of the database: postgresql+psycopg://user:password@host/name, or sqlite:////path for one process. "
        "Options of libpq may follow: ?sslmode=verify-full&sslrootcert=/etc/drover/ca.pem.",
        secret=True,
    )
    pool_size: int = setting(
        8, "Connections of one process for writing, and as many for reading; opened when needed.", minimum=1, maximum=64
    )
    pool_timeout_s: float = setting(10.0, "Seconds to wait for a free connection.", minimum=0.1)
    connect_timeout_s: int = setting(5, "Seconds to wait for the server when connecting.", minimum=2, maximum=60)
    statement_timeout_s: float = setting(15.0, "Seconds after which the server gives up a statement.", minimum=0.1)
    lock_timeout_s: float = setting(5.0, "Seconds a statement, or a SQLite writer, waits for others.", minimum=0.1)
    idle_transaction_timeout_s: float = setting(
        15.0,
        "Seconds after which the server ends a transaction whose process says nothing (paused, cut off).",
        minimum=1.0,
    )
    silence_timeout_s: int = setting(
        20, "Seconds after which a server that does not answer on the network is given up.", minimum=4, maximum=600
    )

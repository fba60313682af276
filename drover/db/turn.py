"""Things that only one transaction may do at a time, and for which no row can be locked."""

from __future__ import annotations

from enum import IntEnum

import sqlalchemy as sa

__all__ = ["Turn", "take"]

#: first half of our advisory locks, so that they meet nobody else's in a shared database ("DROV")
_SPACE = 0x44524F56


class Turn(IntEnum):
    SCHEMA = 1  # migrations and the deployment's row
    NETWORKS = 2  # creating a network: overlaps are judged against all others
    QUARANTINE = 3  # judging which hosts are set aside


def take(connection: sa.Connection, turn: Turn) -> None:
    """Wait until no other transaction has *turn*; it is ours until this transaction ends.

    On SQLite a writing transaction has every turn already.

    :raises errors.StoreBusy: others kept it longer than the lock timeout.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SPACE, turn.value)))

"""This process's copy of the fleet, brought up to date before each batch."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from drover.db import host_table
from drover.db.host_table import HostRow, Snapshot
from drover.objects.host import HostUsage
from drover.runtime import Clock
from scheduler.host_table import Beside, HostTable
from scheduler.plugin import Chain

__all__ = ["Fleet"]

#: the load of hosts is not read more often: agents do not report it more often
USAGE_EVERY_S = 10.0


class Fleet:
    """Reads what changed, and everything once in *reload_s* seconds. For one task.

    An ordinary refresh is one statement.  What is given out piece by piece is read with a second one, of changed
    hosts that offer hardware; the numbers of instances and the load of hosts only for a *chain* that needs them.
    """

    def __init__(self, clock: Clock, reload_s: float, chain: Chain | None = None) -> None:
        self._clock = clock
        self._reload_s = reload_s
        self._needs_instances = chain is not None and chain.needs_instances
        self._needs_load = chain is not None and chain.needs_load
        self._reload_at = self._usage_at = clock.monotonic()
        self._mark = 0
        self._rows: dict[str, HostRow] = {}
        self._usage: Mapping[str, HostUsage] = {}
        self._table = HostTable.build(())

    def refresh(self, conn: Connection) -> HostTable:
        """The table with everything that was committed before this call."""
        now = self._clock.monotonic()
        everything = now >= self._reload_at
        snapshot = host_table.read_all(conn) if everything else host_table.read_changed(conn, self._mark)
        if everything:
            self._reload_at = now + self._reload_s
        self._mark = snapshot.mark
        self._apply(conn, snapshot, everything=everything)
        if self._needs_load and now >= self._usage_at:
            self._usage_at = now + USAGE_EVERY_S
            self._usage = host_table.read_usage(conn)
            self._table = self._table.with_usage(self._usage)
        return self._table

    def _apply(self, conn: Connection, snapshot: Snapshot, *, everything: bool) -> None:
        """Rows that are as they were are left out, unless what stands beside them may have changed."""
        read = {row.host: row for row in snapshot.rows}
        changed = [row for row in snapshot.rows if self._has_more(row) or self._rows.get(row.host) != row]
        same_hosts = read.keys() <= self._rows.keys() and not (everything and self._rows.keys() - read.keys())
        if everything:
            self._rows = read
        else:
            self._rows.update(read)
        if not same_hosts:
            self._table = HostTable.build(self._rows.values(), self._beside(conn, None))
            self._table = self._table.with_usage(self._usage) if self._needs_load else self._table
        elif changed:
            self._table = self._table.with_rows(changed, self._beside(conn, changed))

    def _has_more(self, row: HostRow) -> bool:
        """Whether placements may come and go and leave the row as it was, but not what is beside it."""
        return self._needs_instances or bool(row.hardware)

    def _beside(self, conn: Connection, changed: list[HostRow] | None) -> Beside:
        """What stands in other tables about *changed* hosts; None: about all."""
        rows = self._rows.values() if changed is None else changed
        names = None if changed is None else [row.host for row in changed]
        offering = any(row.hardware for row in rows)
        return Beside(
            instances=host_table.count_instances(conn, names) if self._needs_instances else {},
            claims=host_table.read_hardware_claims(conn, names) if offering else {},
        )

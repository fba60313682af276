"""This process's copy of the fleet, brought up to date before each batch."""

from __future__ import annotations

from sqlalchemy import Connection

from drover.db import host_table
from drover.db.host_table import HostRow
from drover.runtime import Clock
from scheduler.host_table import HostTable

__all__ = ["Fleet"]


class Fleet:
    """Reads what changed, and everything once in *reload_s* seconds. For one task."""

    def __init__(self, clock: Clock, reload_s: float) -> None:
        self._clock = clock
        self._reload_s = reload_s
        self._reload_at = clock.monotonic()
        self._mark = 0
        self._rows: dict[str, HostRow] = {}
        self._table = HostTable.build(())

    def refresh(self, conn: Connection) -> HostTable:
        """The table with everything that was committed before this call."""
        now = self._clock.monotonic()
        if now >= self._reload_at:
            snapshot = host_table.read_all(conn)
            self._rows = {row.host: row for row in snapshot.rows}
            self._table = HostTable.build(snapshot.rows)
            self._reload_at = now + self._reload_s
        else:
            snapshot = host_table.read_changed(conn, self._mark)
            self._apply(snapshot.rows)
        self._mark = snapshot.mark
        return self._table

    def _apply(self, rows: tuple[HostRow, ...]) -> None:
        changed = [row for row in rows if self._rows.get(row.host) != row]
        self._rows.update((row.host, row) for row in changed)
        if all(row.host in self._table.rows for row in changed):
            self._table = self._table.with_rows(changed) if changed else self._table
        else:
            self._table = HostTable.build(self._rows.values())

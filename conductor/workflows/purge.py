"""Retention: what ended long ago is removed, on request or, where it is configured, by itself."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from conductor.core import Core
from drover import errors, log, retry
from drover.db.purge import KINDS, Kind, candidates, count, remove
from drover.objects.audit import PurgeReport
from drover.rpc.context import RequestContext

__all__ = ["PurgeWorkflow"]

LOG = log.get(__name__)

#: rows of one transaction, and of one look for them
BATCH = 500
LOOK = 5000
#: seconds of one call, under the RPC timeout; and of the automatic purge in one round of the reaper, which must not wait
CALL_S = 4.0
ROUND_S = 0.2
#: how often the automatic purge looks when it found nothing more
EVERY_S = 3600.0


class PurgeWorkflow:
    """Two at once are harmless: one finds less."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next_at = 0.0  # monotonic

    def purge(self, ctx: RequestContext, before_days: float, *, dry_run: bool) -> PurgeReport:
        """See the contract."""
        if not 1 <= before_days <= 36500:
            raise errors.BadInput(reason=f"a purge keeps at least one day, not {before_days:g}")
        before = self._before(before_days)
        if dry_run:
            found: Counter[str] = Counter()
            for kind in KINDS:
                with self._core.database.read() as conn:
                    found.update(count(conn, kind, before))
            return PurgeReport(rows=dict(found))
        report = self._purge(before, CALL_S)
        LOG.warning("purged", before=before, rows=sum(report.rows.values()), request_id=ctx.request_id)
        return report

    def tick(self) -> None:
        """The automatic purge: a little with each round, as long as there is something."""
        days = self._core.settings.retention_days
        now = self._core.runtime.clock.monotonic()
        if not days or now < self._next_at:
            return
        report = self._purge(self._before(days), ROUND_S)
        if not report.more:
            self._next_at = now + EVERY_S
        if rows := sum(report.rows.values()):
            LOG.info("purged", rows=rows)

    def _before(self, days: float) -> datetime:
        return self._core.runtime.clock.now() - timedelta(days=days)

    def _purge(self, before: datetime, budget_s: float) -> PurgeReport:
        clock = self._core.runtime.clock
        deadline = clock.monotonic() + budget_s
        gone: Counter[str] = Counter()
        more = False
        for kind in KINDS:
            with self._core.database.read() as conn:
                keys = candidates(conn, kind, before, LOOK)
            more = more or len(keys) == LOOK
            for first in range(0, len(keys), BATCH):
                if clock.monotonic() > deadline:
                    return PurgeReport(rows=dict(gone), more=True)
                gone.update(self._remove(kind, keys[first : first + BATCH], before))
        return PurgeReport(rows=dict(gone), more=more)

    def _remove(self, kind: Kind, keys: list[str], before: datetime) -> dict[str, int]:
        def once() -> dict[str, int]:
            with self._core.database.write() as conn:
                return remove(conn, kind, keys, before)

        return retry.while_busy(self._core.runtime, once)

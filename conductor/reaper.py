"""The conductor's periodic round: who is silent, and which operations nobody looks after.

Two conductors doing this at once are harmless: rows that one holds the other skips, and every write is
conditional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from conductor import effect
from conductor.core import Core
from conductor.effect import Applied, Effect
from conductor.liveness import Judgement, Liveness
from conductor.plan.reap import HostView, Reaped, plan_reap
from conductor.plan.sync import Facts
from drover import errors, log, retry
from drover.db import host, notice, operation, placement
from drover.db.host import Pulse
from drover.objects.operation import Operation

__all__ = ["Reaper"]

LOG = log.get(__name__)

#: operations looked at in one transaction
BATCH = 200
MASS_SILENCE = "MassSilence"


class Reaper:
    """One round at a time, called by the service's periodic task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._liveness = Liveness(
            silent_after_s=core.times.sync_interval_s * core.times.silent_factor,
            brake_share=core.settings.silence_brake_share,
        )

    def round(self, *, echo: bool) -> int:
        """Judge hosts, then take over expired operations; answers the number of hosts.

        :param echo: whether this conductor's own message came back through the broker.
        :raises errors.Unavailable: the database is not there; the next round does it.
        """
        judgement, pulses = self._judge(echo=echo)
        views = {p.host: HostView(silent=p.host in judgement.silent, spoke_at=p.last_sync_at) for p in pulses}
        while True:
            reaped = retry.while_busy(self._core.runtime, lambda: self._reap(views, braked=judgement.braked))
            if reaped < BATCH:
                return len(pulses)

    def _judge(self, *, echo: bool) -> tuple[Judgement, Sequence[Pulse]]:
        core = self._core
        with core.database.read() as conn:
            pulses = host.pulses(conn)
        judgement = self._liveness.judge(pulses, core.runtime.clock.monotonic(), echo=echo)
        if judgement.fell or judgement.rose or judgement.braked:
            with core.database.write() as conn:
                host.set_up(conn, judgement.fell, up=False)
                host.set_up(conn, judgement.rose, up=True)
                self._alarm(conn, judgement, len(pulses))
            for name in sorted(judgement.fell):
                LOG.warning("host is silent", host=name)
            for name in sorted(judgement.rose):
                LOG.info("host speaks again", host=name)
        return judgement, pulses

    def _alarm(self, conn: Connection, judgement: Judgement, hosts: int) -> None:
        if judgement.braked:
            detail = f"{len(judgement.silent)} of {hosts} hosts fell silent at once; nothing is moved"
            LOG.error("mass silence", silent=len(judgement.silent), hosts=hosts)
            notice.raise_alarm(conn, MASS_SILENCE, "fleet", detail, self._core.runtime.clock.now())
        elif not judgement.silent:
            notice.clear(conn, MASS_SILENCE, ["fleet"])

    def _reap(self, views: Mapping[str, HostView], *, braked: bool) -> int:
        core = self._core
        owner = core.owner()
        with core.database.write() as conn:
            expired = operation.expired(conn, owner.now, BATCH)
            if not expired:
                return 0
            facts = Facts(
                operations={op.id: op for op in expired},
                busy={},
                placements=placement.find_of_instances(conn, (op.instance_uuid for op in expired), lock=True),
                build_attempts=core.settings.build_attempts,
            )
            decided = [(op, plan_reap(op, views, facts, owner.now, braked=braked)) for op in expired]
            effects: list[Effect] = [e for _, reaped in decided for e in reaped.effects]
            applied = effect.apply(conn, effects, owner)
            operation.own(conn, (op.id for op, reaped in decided if reaped.renew), core.name, owner.until)
        self._say(decided, applied)
        return len(expired)

    def _say(self, decided: Sequence[tuple[Operation, Reaped]], applied: Applied) -> None:
        core = self._core
        for op, reaped in decided:
            if reaped.effects:
                LOG.warning("operation taken over", operation=op.id, action=op.action, host=op.host, was=op.state)
        core.waiter.finished(applied.finished)
        again = {op.id for op, reaped in decided if reaped.schedule and op.id not in applied.finished}
        core.nudge_scheduler(sorted(again | set(applied.requeued)))
        try:
            core.hand_out([op for op, reaped in decided if reaped.execute])
        except errors.Unavailable as exc:
            LOG.warning("orders not handed out", error=exc)

"""The conductor's periodic round: who is silent, and which operations nobody looks after.

Two conductors doing this at once are harmless: rows that one holds the other skips, and every write is
conditional.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conductor import effect
from conductor.alarm import AlarmKind, clear_alarms, raise_alarm
from conductor.core import Core
from conductor.effect import Applied, Effect
from conductor.liveness import Judgement, Liveness
from conductor.plan.alarm import hosts_alarms, settled
from conductor.plan.reap import HostView, Reaped, plan_reap
from conductor.plan.sync import Facts
from conductor.points import Commit
from conductor.unseen import Unseen
from conductor.upkeep import Upkeep
from conductor.workflows.host import settle, unsettled
from drover import errors, log, retry
from drover.db import host, instance, notice, operation, orphan, placement
from drover.db.host import Pulse
from drover.objects.event import Event, host_event
from drover.objects.operation import Operation

__all__ = ["Reaper"]

LOG = log.get(__name__)

#: operations looked at in one transaction
BATCH = 200
#: between two syncs of an agent that no conductor answers
LONGEST_PAUSE_S = 5.0
#: a host shows all its guests each usage interval; one not shown for so many is gone
UNSEEN_LOOKS = 6.0


class Reaper:
    """One round at a time, called by the service's periodic task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._upkeep = Upkeep(core)
        self._liveness = Liveness(
            silent_after_s=core.times.sync_interval_s * core.times.silent_factor,
            brake_share=core.settings.silence_brake_share,
            round_s=core.times.reap_interval_s,
            recovery_s=core.times.rpc_timeout_s + LONGEST_PAUSE_S,
        )
        self._unseen = Unseen(UNSEEN_LOOKS * core.times.usage_interval_s)

    def round(self, *, echo: bool) -> int:
        """Judge hosts, take over expired operations, begin what is due by itself; answers the number of hosts.

        :param echo: whether this conductor's own message came back through the broker.
        :raises errors.Unavailable: the database is not there, or an old copy; the next round does it.
        """
        try:
            with self._core.database.read() as conn:
                self._core.past.look(conn)
            self._core.past.check()
            judgement, pulses = self._judge(echo=echo)
        except errors.Unavailable:
            self._liveness.outage()
            raise
        self._settle_fenced(pulses)
        views = {
            p.host: HostView(
                silent=p.host in judgement.silent or p.fence is not None,
                spoke_at=p.last_sync_at,
                fenced=p.fence is not None,
            )
            for p in pulses
        }
        while True:
            reaped = retry.while_busy(self._core.runtime, lambda: self._reap(views, braked=judgement.braked))
            if reaped < BATCH:
                break
        self._upkeep.round()
        self._drop_orphans(judgement, pulses)
        return len(pulses)

    def _judge(self, *, echo: bool) -> tuple[Judgement, Sequence[Pulse]]:
        core = self._core
        with core.database.read() as conn:
            pulses = host.pulses(conn)
        speaking = [p for p in pulses if p.fence is None]  # of the others an operator said how they are
        judgement = self._liveness.judge(speaking, core.runtime.clock.monotonic(), echo=echo)
        if judgement.fell or judgement.rose:
            with core.database.write() as conn:
                fell = host.set_up(conn, judgement.fell, up=False)
                rose = host.set_up(conn, judgement.rose, up=True)
            for name in fell:
                LOG.warning("host is silent", host=name)
            for name in rose:
                LOG.info("host speaks again", host=name)
            if rose:
                core.room.came()
            core.events.publish(
                [*(host_event(name, "down") for name in fell), *(host_event(name, "up") for name in rose)]
            )
        if echo:
            self._settle_alarms(judgement, speaking)
        return judgement, pulses

    def _settle_alarms(self, judgement: Judgement, pulses: Sequence[Pulse]) -> None:
        """Raise and clear what differs from the alarms that stand: mostly nothing, which costs one look."""
        core = self._core
        with core.database.read() as conn:
            standing = {(kind, subject) for kind, subject, _, _ in notice.alarms(conn)}
            kinds = {kind for kind, _ in standing}
            orphans: set[str] = set()
            if AlarmKind.ORPHAN_DOMAIN in kinds:
                shown = orphan.orphans_of(conn)
                orphans = {orphan.subject(name, uuid) for name, uuids in shown.items() for uuid in uuids}
            exhausted = instance.find(conn, (about for kind, about in standing if kind == AlarmKind.RESTARTS_EXHAUSTED))
        change = hosts_alarms(standing, judgement, pulses)
        cleared = [*change.cleared, *settled(standing, orphans, exhausted)]
        if not (change.raised or cleared):
            return
        told: list[Event] = []
        with core.database.write() as conn:
            for (kind, about), words in sorted(change.raised.items()):
                told += raise_alarm(conn, AlarmKind(kind), about, words, core.runtime.clock.now())
            for kind, about in cleared:
                told += clear_alarms(conn, kind, [about])
        core.events.publish(told)

    def _settle_fenced(self, pulses: Sequence[Pulse]) -> None:
        """What a fence that was cut short has left, and verbs that came to its host since."""
        for pulse in pulses:
            if pulse.fence is None:
                continue
            with self._core.database.read() as conn:
                waits = unsettled(conn, pulse.host)
            if waits:
                settle(self._core, pulse.host, pulse.fence)

    def _drop_orphans(self, judgement: Judgement, pulses: Sequence[Pulse]) -> None:
        """Those that their hosts show no more."""
        core = self._core
        quiet = {p.host for p in pulses if judgement.deaf or p.fence is not None or p.host in judgement.silent}
        with core.database.read() as conn:
            shown = orphan.shown(conn)
        gone = self._unseen.gone(shown, quiet, core.runtime.clock.monotonic())
        if gone:
            with core.database.write() as conn:
                orphan.drop(conn, gone)

    def _reap(self, views: Mapping[str, HostView], *, braked: bool) -> int:
        core = self._core
        owner = core.owner()
        with core.transaction(Commit.REAP) as conn:
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
        core.after(applied)
        again = {op.id for op, reaped in decided if reaped.schedule and op.id not in applied.finished}
        core.nudge_scheduler(sorted(again - set(applied.requeued)))
        try:
            core.hand_out([op for op, reaped in decided if reaped.execute])
        except errors.Unavailable as exc:
            LOG.warning("orders not handed out", error=exc)

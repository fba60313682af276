"""Quarantine as it is kept: judged anew from the records each round, so that no crash leaves a host aside for good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from conductor.alarm import AlarmKind, clear_alarms, raise_alarm
from conductor.core import Core
from conductor.plan.quarantine import Standing, plan_quarantine
from drover import log, retry
from drover.db import notice, quarantine
from drover.db.quarantine import Suspect
from drover.objects.event import Event, host_event

__all__ = ["Breaker"]

LOG = log.get(__name__)


class Breaker:
    """One round at a time, called by Upkeep; and an operator's word."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def round(self) -> None:
        """:raises errors.Unavailable: the database is not there; the next round does it."""
        core = self._core
        with core.database.read() as conn:
            suspects = quarantine.suspects(conn)
            standing = _alarmed(conn)
            planned = self._plan(conn, suspects)
        wanted = {name for name, each in planned.items() if each.alarm}
        stale = any(each.at < self._window_began() for it in suspects for each in it.failures)
        if stale or wanted != standing or any(_differs(it, planned[it.host]) for it in suspects):
            retry.while_busy(core.runtime, self._judge)

    def release(self, name: str) -> None:
        """An operator's word that *name* is sound: what failed there is forgotten."""
        core = self._core

        def write() -> list[Event]:
            with core.database.write() as conn:
                quarantine.take_turn(conn)
                quarantine.forgive(conn, name)
                quarantine.keep(conn, name, None, reason="", failures=0)
                return clear_alarms(conn, AlarmKind.FAILING_HOST, [name])

        told = retry.while_busy(core.runtime, write)
        core.room.came()
        core.events.publish([*told, host_event(name, "released", "by an operator")])

    def _plan(self, conn: Connection, suspects: list[Suspect]) -> Mapping[str, Standing]:
        if not suspects:
            return {}
        core = self._core
        return plan_quarantine(suspects, quarantine.hosts(conn), core.settings, core.runtime.clock.now())

    def _window_began(self) -> datetime:
        return self._core.runtime.clock.now() - timedelta(seconds=self._core.settings.quarantine_window_s)

    def _judge(self) -> None:
        core = self._core
        told: list[Event] = []
        with core.database.write() as conn:
            quarantine.take_turn(conn)
            suspects = quarantine.suspects(conn)
            planned = self._plan(conn, suspects)
            now = core.runtime.clock.now()
            for each in suspects:
                after = planned[each.host]
                if after.forgiven:
                    quarantine.forgive(conn, each.host)
                if _differs(each, after):
                    quarantine.keep(conn, each.host, after.quarantine, reason=after.reason, failures=after.failures)
                    told += _told(each, after)
            quarantine.sweep(conn, self._window_began())
            for name, after in sorted(planned.items()):
                if after.alarm:
                    told += raise_alarm(conn, AlarmKind.FAILING_HOST, name, after.alarm, now)
                    notice.reword(conn, AlarmKind.FAILING_HOST, name, after.alarm)
            over = _alarmed(conn) - {name for name, after in planned.items() if after.alarm}
            told += clear_alarms(conn, AlarmKind.FAILING_HOST, over)
        if any(each.reason and not planned[each.host].reason for each in suspects):
            core.room.came()
        core.events.publish(told)


def _alarmed(conn: Connection) -> set[str]:
    return {subject for kind, subject, _, _ in notice.alarms(conn) if kind == AlarmKind.FAILING_HOST}


def _differs(before: Suspect, after: Standing) -> bool:
    shown = (before.quarantine, before.reason, before.failures_shown)
    return shown != (after.quarantine, after.reason, after.failures)


def _told(before: Suspect, after: Standing) -> list[Event]:
    """What somebody may want to hear of a host that stands otherwise than before."""
    name, aside = before.host, after.quarantine
    if aside is None:
        if before.quarantine is None:
            return []
        LOG.info("host released", host=name, reason="a build worked there")
        return [host_event(name, "released", "a build worked there")]
    if before.quarantine is None or aside.until != before.quarantine.until:
        LOG.warning("host in quarantine", host=name, reason=aside.reason, rest_s=aside.rest_s)
        return [host_event(name, "quarantined", aside.reason)]
    if before.reason and not after.reason:
        LOG.info("host may be tried by a build", host=name)
        return [host_event(name, "half-open", "a build may try it")]
    return []

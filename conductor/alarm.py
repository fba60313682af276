"""Alarms: what needs an operator. Every kind is in this table, and is raised and cleared through this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from drover import log
from drover.db import notice
from drover.db.restored import ALARM
from drover.objects.event import Event, EventKind

__all__ = ["ALARMS", "AlarmKind", "AlarmRule", "clear_alarms", "raise_alarm"]

LOG = log.get(__name__)


class AlarmKind(StrEnum):
    """Codes, which are promises like those of errors."""

    MASS_SILENCE = "MassSilence"
    SILENT_HOST = "SilentHost"
    ORPHAN_DOMAIN = "OrphanDomain"
    FAILING_HOST = "FailingHost"
    RESTARTS_EXHAUSTED = "RestartsExhausted"
    DEAD_LETTER = "DeadLetter"
    OLD_DATABASE = ALARM


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """One row of the table in docs/operating.md.

    :param acknowledged: it stands until an operator clears it; others are cleared by what clears their cause.
    """

    about: str
    meaning: str
    cleared: str
    cure: str
    acknowledged: bool = False


ALARMS: Mapping[str, AlarmRule] = {
    AlarmKind.MASS_SILENCE: AlarmRule(
        about="`fleet`",
        meaning="more than `[conductor] silence_brake_share` of the hosts, and at least 3, fell silent together: "
        "nothing is moved",
        cleared="every host that is up speaks",
        cure="look at the network and the broker before the hosts",
    ),
    AlarmKind.SILENT_HOST: AlarmRule(
        about="the host",
        meaning="it does not sync; nothing proves that its guests are off",
        cleared="it syncs again, is fenced or forgotten",
        cure="mend it, or `drover host fence` when its machine is off",
    ),
    AlarmKind.ORPHAN_DOMAIN: AlarmRule(
        about="host/instance",
        meaning="the host shows a domain of ours that no placement names",
        cleared="the host shows it no more",
        cure="`drover doctor` tells what it may be; remove it by hand",
    ),
    AlarmKind.FAILING_HOST: AlarmRule(
        about="the host",
        meaning="builds failed there `[conductor] quarantine_failures` times within `quarantine_window_s`; it is set "
        "aside, unless `quarantine_share` of the hosts are already",
        cleared="a build that tries it works, its failures are older than the window, or an operator releases it",
        cure="the alarm names the errors: mend their cause, then `drover host release`",
    ),
    AlarmKind.RESTARTS_EXHAUSTED: AlarmRule(
        about="the instance",
        meaning="its guest ended by itself `[conductor] restart_limit` times in a row; it is stopped",
        cleared="it is started, rebuilt, recovered or deleted",
        cure="mend what ends it, then `drover instance start`",
    ),
    AlarmKind.DEAD_LETTER: AlarmRule(
        about="the host",
        meaning="an item of its sync can never be applied; it was kept in `[conductor] dead_letter_dir`",
        cleared="`drover alarm clear DeadLetter HOST`",
        cure="a defect of Drover: report it with the letter; `drover doctor` shows what is left undone",
        acknowledged=True,
    ),
    AlarmKind.OLD_DATABASE: AlarmRule(
        about="`database`",
        meaning="a host is in a session that the database has yet to give, so it is an old copy: nothing begins, and no "
        "agent is answered",
        cleared="`drover db restored`, or `drover alarm clear OldDatabase database` when the host is mistaken",
        cure="stop all conductors and schedulers, `drover db restored`, start them",
        acknowledged=True,
    ),
}


def raise_alarm(conn: Connection, kind: AlarmKind, subject: str, detail: str, now: datetime) -> list[Event]:
    """Once for each (kind, subject) that does not stand; what to tell after the commit."""
    if not notice.raise_alarm(conn, kind.value, subject, detail, now):
        return []
    LOG.error("alarm raised", kind=kind.value, subject=subject, detail=detail)
    return [_event(kind.value, subject, "raised", detail)]


def clear_alarms(conn: Connection, kind: str, subjects: Iterable[str]) -> list[Event]:
    """Those that stand; what to tell after the commit."""
    cleared = notice.clear(conn, kind, subjects)
    for subject in cleared:
        LOG.info("alarm cleared", kind=kind, subject=subject)
    return [_event(kind, subject, "cleared") for subject in cleared]


def _event(kind: str, subject: str, state: str, detail: str = "") -> Event:
    return Event(kind=EventKind.ALARM, subject=kind, state=state, name=subject, detail=detail)

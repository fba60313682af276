"""Hosts where builds fail: what failed, and who was set aside for it.

Whoever judges holds the turn, so that what is read, decided and written is one step, and the reason that the scheduler
reads stands as long as the quarantine's own row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, func, or_, select, update

from drover.clock import from_iso, to_iso
from drover.db.bulk import among, listed
from drover.db.engine import insert_ignore
from drover.db.host_table import change_stamp
from drover.db.schema import host_capacity, host_failure, host_quarantine, operation
from drover.db.turn import Turn, take
from drover.states import VERBS, OperationState

__all__ = [
    "TRIED",
    "Failure",
    "Quarantine",
    "Suspect",
    "forget",
    "forgive",
    "hosts",
    "keep",
    "record",
    "suspects",
    "sweep",
    "take_turn",
]

#: the reason while a build tries a host
TRIED = "a build tries it now"

_F, _Q, _H = host_failure.c, host_quarantine.c, host_capacity.c
_PLACING = sorted(action.value for action, verb in VERBS.items() if verb.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    code: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """*until*: no guest comes before. *rest_s*: how long that was."""

    host: str
    reason: str
    since: datetime
    until: datetime
    rest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A host where something failed, or that was set aside.

    :param reason: and failures_shown: as the scheduler reads them now.
    :param since_rest: states of the builds that came after the rest and have not failed.
    """

    host: str
    failures: tuple[Failure, ...] = ()  # oldest first
    quarantine: Quarantine | None = None
    reason: str = ""
    failures_shown: int = 0
    since_rest: frozenset[OperationState] = frozenset()


def record(conn: Connection, host: str, cause: str, code: str, now: datetime) -> None:
    """A build failed on *host*. The same cause again is no further failure."""
    values = {"code": code, "at": to_iso(now)}
    here = (_F.host == host, _F.cause == cause)
    if conn.execute(update(host_failure).where(*here).values(**values)).rowcount == 0:
        conn.execute(insert_ignore(conn, host_failure), [{"host": host, "cause": cause, **values}])


def take_turn(conn: Connection) -> None:
    """Nobody else judges until this transaction ends."""
    take(conn, Turn.QUARANTINE)


def suspects(conn: Connection) -> list[Suspect]:
    """By name; mostly none."""
    failures: dict[str, list[Failure]] = {}
    for row in conn.execute(_FAILURES):
        failures.setdefault(row.host, []).append(Failure(code=row.code, at=from_iso(row.at)))
    aside = {
        row.host: Quarantine(
            host=row.host, reason=row.reason, since=from_iso(row.since), until=from_iso(row.until), rest_s=row.rest_s
        )
        for row in conn.execute(_ASIDE)
    }
    names = failures.keys() | aside.keys()
    if not names:
        return []
    return [
        Suspect(
            host=row.host,
            failures=tuple(failures.get(row.host, ())),
            quarantine=aside.get(row.host),
            reason=row.quarantine,
            failures_shown=row.failures,
            since_rest=_since(conn, aside[row.host]) if row.host in aside else frozenset(),
        )
        for row in conn.execute(_SHOWN, {"hosts": listed(names)})
    ]


_FAILURES = select(host_failure).order_by(_F.at, _F.host, _F.cause)
_ASIDE = select(host_quarantine)
_SHOWN = select(_H.host, _H.quarantine, _H.failures).where(among(_H.host, bindparam("hosts"))).order_by(_H.host)


def _since(conn: Connection, it: Quarantine) -> frozenset[OperationState]:
    o = operation.c
    query = (
        select(o.state)
        .distinct()
        .where(
            o.host == it.host,
            o.action.in_(_PLACING),
            o.dispatched_at >= to_iso(it.until),
        )
    )
    failed = {OperationState.FAILED, OperationState.CANCELLED}
    return frozenset(OperationState(state) for state in conn.execute(query).scalars()) - failed


def hosts(conn: Connection) -> int:
    """How many hosts there are."""
    return int(conn.execute(select(func.count()).select_from(host_capacity)).scalar_one())


def keep(conn: Connection, host: str, quarantine: Quarantine | None, *, reason: str, failures: int) -> None:
    """Write how a host stands: its row, and what the scheduler reads of it.

    One that is set aside and has no *reason* may be tried by one guest, whose claim closes it again.
    """
    conn.execute(delete(host_quarantine).where(_Q.host == host))
    if quarantine is not None:
        row = {
            "host": host,
            "reason": quarantine.reason,
            "since": to_iso(quarantine.since),
            "until": to_iso(quarantine.until),
            "rest_s": quarantine.rest_s,
        }
        conn.execute(host_quarantine.insert(), [row])
    shown = {
        "quarantine": reason,
        "probation": TRIED if quarantine is not None and not reason else "",
        "failures": failures,
        "change": change_stamp(conn),
    }
    conn.execute(update(host_capacity).where(_H.host == host).values(**shown))


def forgive(conn: Connection, host: str) -> None:
    """What failed there counts no more."""
    conn.execute(delete(host_failure).where(_F.host == host))


def sweep(conn: Connection, before: datetime) -> None:
    """Failures of *before*, and whatever is left of hosts that were forgotten, go."""
    conn.execute(delete(host_failure).where(or_(_F.at < to_iso(before), ~exists().where(_H.host == _F.host))))
    conn.execute(delete(host_quarantine).where(~exists().where(_H.host == _Q.host)))


def forget(conn: Connection, name: str) -> None:
    """A host that is forgotten."""
    conn.execute(delete(host_failure).where(_F.host == name))
    conn.execute(delete(host_quarantine).where(_Q.host == name))

"""Settling a database that was put back from a copy: it shows a past, and must not act on what it shows as present.

What was under way when the copy was made has ended since, somewhere, somehow.  Done again from the old rows it would
happen twice: a build would be placed elsewhere while its guest runs.  So it is ended here, by one transaction, before
any conductor or scheduler reads it.  Placements stay, since they are all that is known of where guests may be: what
was being built counts as being there, until its host shows it, or an operator decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, func, select, update

from drover import errors
from drover.clock import to_iso
from drover.db import notice
from drover.db.engine import Database
from drover.db.instance import fault_json
from drover.db.schema import allocation, forgotten_host, host, instance, network, operation, port, service
from drover.objects import codec
from drover.objects.address import ip_of, offset_of, remotest
from drover.objects.operation import ErrorInfo
from drover.objects.preview import Consequence, Settlement
from drover.states import VERBS, Action, OperationState, PlacementState, VmState

__all__ = ["ALARM", "SUBJECT", "settle", "survey"]

#: the alarm of a conductor that finds out by itself, and what it is about
ALARM, SUBJECT = "OldDatabase", "database"

#: far more sessions than agents have begun since any copy that is worth restoring
SESSION_LEAP = 1 << 16
#: how often, ten times a second, others are looked for before they count as there
_LOOKS = 20
#: operations shown one by one
_SHOWN = 50

#: verbs after which nobody knows what is where: the instance needs a decision
_DOUBTFUL = sorted(
    verb.action.value
    for verb in VERBS.values()
    if verb.places or verb.on_failure is VmState.ERROR or verb.action is Action.DELETE
)
_DETAIL = "the database was restored from a copy that was made before its end"

_O, _I, _A = operation.c, instance.c, allocation.c
#: of builds and unshelves under way
_PLACING = _A.state.in_([PlacementState.RESERVED.value, PlacementState.HELD.value, PlacementState.PERMITTED.value])


def survey(database: Database) -> Settlement:
    """What :func:`settle` would do.

    :raises errors.ServicesConnected: others work with the database.
    """
    with database.write() as conn:
        _check_alone(conn)
        return Settlement(done=False, consequences=tuple(_consequences(conn)))


def settle(database: Database, now: datetime) -> Settlement:
    """End what the copy shows as under way, and leap over what was handed out since. Doing it again ends nothing more.

    :raises errors.ServicesConnected: others work with the database; nothing was changed.
    """
    with database.write() as conn:
        _hold(conn)
        found = tuple(_consequences(conn))
        _write(conn, now)
        return Settlement(done=True, consequences=found)


def _write(conn: Connection, now: datetime) -> None:
    _end_operations(conn, now)
    _take_for_there(conn)
    _put_off(conn, now)
    for table in (host, forgotten_host):
        # Agents hold sessions that these rows have yet to give; each must open one that nobody ever had.
        leap = (table.c.session // SESSION_LEAP + 1) * SESSION_LEAP
        conn.execute(update(table).values(session=leap))
    conn.execute(update(host).values(last_sync_at=None))  # what it has is unknown until it says so
    for row, start in _searches(conn):
        conn.execute(update(network).where(network.c.id == row.id).values(cursor=start))
    conn.execute(service.delete())  # heartbeats of another time
    notice.clear(conn, ALARM, [SUBJECT])


# --- alone -----------------------------------------------------------------------------------------------------


def _check_alone(conn: Connection) -> None:
    """SQLite's file is of one process anyway, which its lock says.

    Heartbeats prove nothing here: those of the copy are as old as the copy, and a service writes its own only once
    it has begun to work. The server shows who has left for a moment longer.
    """
    if conn.dialect.name == "postgresql":
        others = 0
        for _ in range(_LOOKS):
            conn.execute(sa.text("SELECT pg_stat_clear_snapshot()"))  # else a transaction sees the same each time
            if not (others := conn.execute(_OTHERS).scalar_one()):
                return
            conn.execute(sa.text("SELECT pg_sleep(0.1)"))
        raise errors.ServicesConnected(connections=others)


_OTHERS = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'drover'"
    " AND pid <> pg_backend_pid()"
)


def _hold(conn: Connection) -> None:
    """Whoever connects after the look has to wait for the end of this transaction before it can read an operation."""
    _check_alone(conn)
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SET LOCAL statement_timeout = 0"))
        conn.execute(sa.text("LOCK TABLE operation IN ACCESS EXCLUSIVE MODE"))
        _check_alone(conn)


# --- what is done ------------------------------------------------------------------------------------------------


def _end_operations(conn: Connection, now: datetime) -> None:
    for action in conn.execute(select(_O.action).where(_O.unfinished == 1).distinct().order_by(_O.action)).scalars():
        unknown = errors.OutcomeUnknown(action=action, detail=_DETAIL)
        error = ErrorInfo(code=unknown.code, message=unknown.message, retryable=False)
        mine = (_O.unfinished == 1, _O.action == action)
        if action in _DOUBTFUL:
            fault = fault_json(error.code, error.message, now)
            doubtful = _I.uuid.in_(select(_O.instance_uuid).where(*mine))
            conn.execute(update(instance).where(doubtful).values(vm_state=VmState.ERROR.value, fault=fault))
        ended = {"state": OperationState.FAILED.value, "unfinished": None, "error": codec.to_json(error)}
        conn.execute(update(operation).where(*mine).values(finished_at=to_iso(now), **ended))


def _take_for_there(conn: Connection) -> None:
    """Orders that the copy shows on their way may have been carried out: only the host they went to can tell."""
    place = select(func.max(_A.host)).where(_A.instance_uuid == _I.uuid, _PLACING).scalar_subquery()
    placing = _I.uuid.in_(select(_A.instance_uuid).where(_PLACING))
    conn.execute(update(instance).where(placing).values(host=place))
    conn.execute(update(allocation).where(_PLACING).values(state=PlacementState.ACTIVE.value))


def _put_off(conn: Connection, now: datetime) -> None:
    """What conductors would begin by themselves at once, for reasons that may long be gone."""
    conn.execute(update(instance).where(_I.restart_at.is_not(None)).values(restart_at=None))
    conn.execute(update(instance).where(_I.soft_deleted_at.is_not(None)).values(soft_deleted_at=to_iso(now)))


def _searches(conn: Connection) -> Iterator[tuple[sa.Row[tuple[object, ...]], int]]:
    """Networks, and where the search for a free address goes on: what was handed out since followed on the taken ones."""
    for row in conn.execute(select(network).order_by(network.c.name)).all():
        taken = conn.execute(select(port.c.offset).where(port.c.network_id == row.id)).scalars().all()
        yield row, remotest(offset_of(row.cidr, row.first), offset_of(row.cidr, row.last), taken)


# --- what is said ------------------------------------------------------------------------------------------------


def _consequences(conn: Connection) -> Iterator[Consequence]:
    under_way = conn.execute(select(operation).where(_O.unfinished == 1).order_by(_O.created_at, _O.id)).all()
    for op in under_way[:_SHOWN]:
        then = ", and the instance is in error" if op.action in _DOUBTFUL else ""
        effect = f"{op.action} of {op.instance_name}, {op.state} in the copy, fails (OutcomeUnknown){then}"
        yield Consequence(subject=f"operation {op.id}", effect=effect)
    if len(under_way) > _SHOWN:
        yield Consequence(subject=f"{len(under_way) - _SHOWN} more operations", effect="fail likewise")
    if hosts := conn.execute(select(func.count()).select_from(host)).scalar_one():
        yield Consequence(subject=f"{hosts} hosts", effect="their agents register anew, and tell everything again")
    for column, effect in (
        (_I.restart_at, "are not started again for what the copy says of them"),
        (_I.soft_deleted_at, "are soft-deleted, and can be restored for the whole time from now on"),
    ):
        if count := conn.execute(select(func.count()).where(column.is_not(None))).scalar_one():
            yield Consequence(subject=f"{count} instances", effect=effect)
    for row, start in _searches(conn):
        if row.cursor != start:
            words = f"the search for free addresses goes on at {ip_of(row.cidr, start)}"
            yield Consequence(subject=f"network {row.name}", effect=words)

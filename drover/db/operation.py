"""The journal's rows: operations and what services logged of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from drover.clock import from_iso, to_iso
from drover.db.bulk import among, insert_rows, listed
from drover.db.schema import operation, operation_log
from drover.objects import codec
from drover.objects.event import Event, EventKind
from drover.objects.operation import ErrorInfo, Operation, OperationFilter, ServiceLog
from drover.states import UNFINISHED_STATES, Action, OperationState

__all__ = [
    "add",
    "add_logs",
    "are_final",
    "begin",
    "expired",
    "find",
    "finish",
    "get",
    "latest",
    "logs",
    "own",
    "page",
    "requeue",
    "schedule",
    "unfinished_of_hosts",
    "unfinished_of_instances",
    "wait",
]


def _time(text: str | None) -> datetime | None:
    return from_iso(text) if text else None


def to_value(row: Row[Any]) -> Operation:
    """One row of :data:`drover.db.schema.operation` as a value."""
    return Operation(
        id=row.id,
        instance_uuid=row.instance_uuid,
        instance_name=row.instance_name,
        action=Action(row.action),
        state=OperationState(row.state),
        attempt=row.attempt,
        params=codec.from_json(row.params, dict[str, str]) if row.params != "{}" else {},
        host=row.host,
        excluded_hosts=tuple(codec.from_json(row.excluded_hosts, list[str])) if row.excluded_hosts != "[]" else (),
        queue_budget_s=row.queue_budget_s,
        run_budget_s=row.run_budget_s,
        owner=row.owner,
        request_id=row.request_id,
        project_id=row.project_id,
        user_id=row.user_id,
        created_at=from_iso(row.created_at),
        dispatched_at=_time(row.dispatched_at),
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
        error=codec.from_json(row.error, ErrorInfo) if row.error else None,
        # The words of the last refusal stay in the row: who goes on to a host and comes back waits on.
        waits=row.waits if row.state == OperationState.SCHEDULING.value else "",
    )


def add(conn: Connection, operations: Sequence[Operation], *, owner_until: datetime, keys: Mapping[str, str]) -> None:
    """Insert new operations.

    :param keys: idempotency key by operation id, where there is one.
    :raises drover.errors.StoreConflict: the instance has an unfinished operation already.
    """
    rows = [
        {
            "id": op.id,
            "instance_uuid": op.instance_uuid,
            "instance_name": op.instance_name,
            "action": op.action.value,
            "params": codec.to_json(op.params),
            "state": op.state.value,
            "unfinished": 1 if op.state in UNFINISHED_STATES else None,
            "attempt": op.attempt,
            "owner": op.owner,
            "owner_until": to_iso(owner_until),
            "host": op.host,
            "peer_host": "",
            "excluded_hosts": codec.to_json(op.excluded_hosts),
            "queue_budget_s": op.queue_budget_s,
            "run_budget_s": op.run_budget_s,
            "idempotency_key": keys.get(op.id),
            "request_id": op.request_id,
            "project_id": op.project_id,
            "user_id": op.user_id,
            "created_at": to_iso(op.created_at),
            "dispatched_at": to_iso(op.dispatched_at) if op.dispatched_at else None,
            "started_at": None,
            "finished_at": to_iso(op.finished_at) if op.finished_at else None,
            "error": codec.to_json(op.error) if op.error else "",
            "waits": op.waits,
        }
        for op in operations
    ]
    insert_rows(conn, operation, rows)


def get(conn: Connection, operation_id: str) -> Operation | None:
    row = conn.execute(select(operation).where(operation.c.id == operation_id)).first()
    return to_value(row) if row else None


def find(conn: Connection, ids: Iterable[str], *, lock: bool = False) -> dict[str, Operation]:
    """Operations by id. With *lock* their rows are held, in order of id, until the transaction ends."""
    wanted = set(ids)
    if not wanted:
        return {}
    query = _FIND_LOCKED if lock else _FIND
    return {row.id: to_value(row) for row in conn.execute(query, {"ids": listed(wanted)})}


_FIND = select(operation).where(among(operation.c.id, bindparam("ids"))).order_by(operation.c.id)
_FIND_LOCKED = _FIND.with_for_update()


def are_final(conn: Connection, ids: Iterable[str]) -> dict[str, bool]:
    """Whether they have ended, of those that there are."""
    return {row.id: row.unfinished is None for row in conn.execute(_ARE_FINAL, {"ids": listed(ids)})}


_ARE_FINAL = select(operation.c.id, operation.c.unfinished).where(among(operation.c.id, bindparam("ids")))


def unfinished_of_hosts(conn: Connection, hosts: Iterable[str]) -> list[Operation]:
    """What these hosts have to do: dispatched or running, oldest first."""
    return [to_value(row) for row in conn.execute(_UNFINISHED_OF_HOSTS, {"hosts": listed(hosts)})]


_UNFINISHED_OF_HOSTS = (
    select(operation)
    .where(
        operation.c.unfinished == 1,
        among(operation.c.host, bindparam("hosts")),
        operation.c.state.in_((OperationState.DISPATCHED.value, OperationState.RUNNING.value)),
    )
    .order_by(operation.c.created_at, operation.c.id)
)


def unfinished_of_instances(conn: Connection, uuids: Iterable[str], *, lock: bool = False) -> dict[str, Operation]:
    """The unfinished operation of each instance that has one, by instance uuid."""
    wanted = set(uuids)
    if not wanted:
        return {}
    query = _UNFINISHED_OF_INSTANCES_LOCKED if lock else _UNFINISHED_OF_INSTANCES
    return {row.instance_uuid: to_value(row) for row in conn.execute(query, {"uuids": listed(wanted)})}


_UNFINISHED_OF_INSTANCES = (
    select(operation)
    .where(operation.c.unfinished == 1, among(operation.c.instance_uuid, bindparam("uuids")))
    .order_by(operation.c.id)
)
_UNFINISHED_OF_INSTANCES_LOCKED = _UNFINISHED_OF_INSTANCES.with_for_update()


def latest(conn: Connection, instance_uuid: str, actions: Collection[Action] = tuple(Action)) -> Operation | None:
    """The newest operation of an instance (of these kinds)."""
    of_kind = operation.c.action.in_(sorted(actions))
    query = select(operation).where(operation.c.instance_uuid == instance_uuid, of_kind)
    row = conn.execute(query.order_by(operation.c.created_at.desc(), operation.c.id.desc()).limit(1)).first()
    return to_value(row) if row else None


def expired(conn: Connection, now: datetime, limit: int) -> list[Operation]:
    """Unfinished operations whose owner's lease is over, locked; rows that another reaper holds are skipped."""
    query = (
        select(operation)
        .where(operation.c.unfinished == 1, operation.c.owner_until < to_iso(now))
        .order_by(operation.c.owner_until, operation.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [to_value(row) for row in conn.execute(query)]


def own(conn: Connection, ids: Iterable[str], owner: str, until: datetime) -> None:
    """Take or renew the lease on unfinished operations."""
    wanted = set(ids)
    if wanted:
        conn.execute(_OWN, {"ids": listed(wanted), "by": owner, "until": to_iso(until)})


_OWN = (
    update(operation)
    .where(among(operation.c.id, bindparam("ids")), operation.c.unfinished == 1)
    .values(owner=bindparam("by"), owner_until=bindparam("until"))
)


def _by_attempt(pairs: Iterable[tuple[str, int]]) -> dict[int, list[str]]:
    """Ids by their attempt, which is mostly the same for all: then one statement does."""
    found: dict[int, list[str]] = {}
    for operation_id, attempt in pairs:
        found.setdefault(attempt, []).append(operation_id)
    return found


_OF_ATTEMPT = and_(among(operation.c.id, bindparam("ids")), operation.c.attempt == bindparam("of_attempt"))


#: what an event tells of an operation
_TOLD = tuple(
    operation.c[name]
    for name in ("id", "instance_uuid", "instance_name", "action", "state", "host", "project_id", "error")
)


def _changed(conn: Connection, statement: ReturningUpdate[Any], values: Mapping[str, Any]) -> list[Event]:
    """Run it; of the rows that it has changed, what they are now."""
    return [_event(row) for row in conn.execute(statement, values)]


def _event(row: Row[Any]) -> Event:
    error = codec.from_json(row.error, ErrorInfo) if row.error else None
    return Event(
        kind=EventKind.OPERATION,
        subject=row.instance_uuid,
        state=row.state,
        project_id=row.project_id,
        name=row.instance_name,
        host=row.host,
        operation_id=row.id,
        action=row.action,
        code=error.code if error else "",
        detail=error.message if error else "",
    )


def begin(conn: Connection, pairs: Iterable[tuple[str, int]], now: datetime, until: datetime) -> list[Event]:
    """(id, attempt) → running, once; the lease is renewed."""
    changed: list[Event] = []
    for attempt, ids in _by_attempt(pairs).items():
        values = {"at": to_iso(now), "until": to_iso(until)}
        changed += _changed(conn, _BEGIN, {"ids": listed(ids), "of_attempt": attempt, **values})
    return changed


_BEGIN = (
    update(operation)
    .where(_OF_ATTEMPT, operation.c.state == OperationState.DISPATCHED.value)
    .values(state=OperationState.RUNNING.value, started_at=bindparam("at"), owner_until=bindparam("until"))
    .returning(*_TOLD)
)


def finish(
    conn: Connection, pairs: Iterable[tuple[str, int]], state: OperationState, error: ErrorInfo | None, now: datetime
) -> list[Event]:
    """Unfinished (id, attempt) → a final state, all with the same error."""
    changed: list[Event] = []
    for attempt, ids in _by_attempt(pairs).items():
        values = {"to": state.value, "at": to_iso(now), "because": codec.to_json(error) if error else ""}
        changed += _changed(conn, _FINISH, {"ids": listed(ids), "of_attempt": attempt, **values})
    return changed


_FINISH = (
    update(operation)
    .where(_OF_ATTEMPT, operation.c.unfinished == 1)
    .values(state=bindparam("to"), unfinished=None, finished_at=bindparam("at"), error=bindparam("because"))
    .returning(*_TOLD)
)


def set_back(conn: Connection, operation_id: str, attempt: int, error: ErrorInfo) -> None:
    """Keep why the attempt failed, of one that goes on with the next."""
    here = (operation.c.id == operation_id, operation.c.attempt == attempt, operation.c.unfinished == 1)
    conn.execute(update(operation).where(*here).values(error=codec.to_json(error)))


def requeue(conn: Connection, op: Operation, *, exclude: str, owner: str, until: datetime) -> list[Event]:
    """Back to the scheduler: next attempt, without *exclude*."""
    excluded = sorted({*op.excluded_hosts, exclude} - {""})
    return _changed(
        conn,
        update(operation)
        .where(operation.c.id == op.id, operation.c.attempt == op.attempt, operation.c.unfinished == 1)
        .values(
            state=OperationState.SCHEDULING.value,
            attempt=op.attempt + 1,
            host="",
            excluded_hosts=codec.to_json(excluded),
            dispatched_at=None,
            started_at=None,
            owner=owner,
            owner_until=to_iso(until),
        )
        .returning(*_TOLD),
        {},
    )


def schedule(conn: Connection, operation_id: str, attempt: int) -> list[Event]:
    """Queued → scheduling, once."""
    of = (operation.c.id == operation_id, operation.c.attempt == attempt)
    queued = operation.c.state == OperationState.QUEUED.value
    to_scheduling = update(operation).where(*of, queued).values(state=OperationState.SCHEDULING.value)
    return _changed(conn, to_scheduling.returning(*_TOLD), {})


def wait(conn: Connection, operation_id: str, attempt: int, words: str) -> list[Event]:
    """It waits for room in ``scheduling``; *words* say for what. Told once: new words are no news."""
    here = (operation.c.id == operation_id, operation.c.attempt == attempt)
    scheduling = operation.c.state == OperationState.SCHEDULING.value
    changed = update(operation).where(*here, scheduling).values(waits=words)
    first = conn.execute(changed.where(operation.c.waits == "").returning(*_TOLD)).all()
    if not first:
        conn.execute(changed)
    return [replace(_event(row), detail=f"waits for room: {words}") for row in first]


def add_logs(conn: Connection, documents: Sequence[tuple[str, ServiceLog]]) -> None:
    """Keep what a service logged of an attempt; a repeat replaces nothing (the first is the truth)."""
    rows = [
        {"operation_id": op, "attempt": log.attempt, "service": log.service, "document": codec.to_json(log)}
        for op, log in documents
    ]
    insert_rows(conn, operation_log, rows, ignore=True)


def logs(conn: Connection, operation_id: str) -> tuple[ServiceLog, ...]:
    query = select(operation_log.c.document).where(operation_log.c.operation_id == operation_id)
    rows = conn.execute(query.order_by(operation_log.c.attempt, operation_log.c.service))
    return tuple(codec.from_json(row.document, ServiceLog) for row in rows)


def page(conn: Connection, query: OperationFilter, *, instance_uuid: str, project_id: str) -> list[Operation]:
    """Newest first, one more than ``query.limit`` when there is a further page."""
    found = select(operation)
    if instance_uuid:
        found = found.where(operation.c.instance_uuid == instance_uuid)
    if not query.all_projects:
        found = found.where(operation.c.project_id == project_id)
    if query.state:
        found = found.where(operation.c.state == query.state)
    if query.unfinished:
        found = found.where(operation.c.unfinished == 1)
    if query.marker:
        after = select(operation.c.created_at).where(operation.c.id == query.marker).scalar_subquery()
        found = found.where(
            or_(
                operation.c.created_at < after,
                and_(operation.c.created_at == after, operation.c.id < query.marker),
            )
        )
    found = found.order_by(operation.c.created_at.desc(), operation.c.id.desc()).limit(query.limit + 1)
    return [to_value(row) for row in conn.execute(found)]

"""The writes of a claim, for rows that :mod:`drover.db.claim` holds locked.

PostgreSQL does them in one statement: at twenty placements a batch, a statement a row would cost the scheduler
five times the CPU.  SQLite, which has no writing WITH, does the same step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, or_, text, update
from sqlalchemy.dialects.sqlite import insert

from drover import errors
from drover.db.host_table import change_stamp
from drover.db.schema import allocation, host_capacity, instance, operation
from drover.objects import codec
from drover.objects.host import Resources
from drover.states import OperationState, PlacementState

__all__ = ["OPEN", "Won", "lower", "write"]

_H = host_capacity.c
#: whether a host takes new guests
OPEN = (_H.enabled == 1, _H.up == 1, _H.draining == 0, _H.quarantine == "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Won:
    """A place that was found for an operation."""

    operation_id: str
    attempt: int
    instance_uuid: str
    host: str
    epoch: int
    vcpus: int
    memory_mib: int
    disk_gib: int
    hardware: str = ""  # JSON of HardwareClaim, "": none
    group_id: str = ""
    group_slot: int | None = None

    @property
    def ask(self) -> Resources:
        return Resources(vcpus=self.vcpus, memory_mib=self.memory_mib, disk_gib=self.disk_gib)


def write(conn: Connection, won: Sequence[Won], moment: str) -> None:
    """Insert allocations, raise what their hosts have used, move the operations and tell the instances.

    An allocation that is there already has its room already: nothing is raised for it.

    :param moment: ISO time.
    :raises errors.StoreBusy: a host had no room, or an operation had moved on; the transaction must be rolled back.
    """
    if conn.dialect.name == "postgresql":
        _write_at_once(conn, won, moment)
    else:
        _write_in_steps(conn, won, moment)


def lower(conn: Connection, freed: Iterable[tuple[str, Resources]]) -> None:
    """Take amounts off what hosts have used, in order of their names."""
    rows = [_amounts(host, amount) for host, amount in _by_host(freed)]
    if rows:
        h = host_capacity.c
        values = {f"used_{kind}": h[f"used_{kind}"] - bindparam(f"ask_{kind}") for kind in _KINDS}
        conn.execute(
            update(host_capacity).where(h.host == bindparam("of_host")).values(change=change_stamp(conn), **values),
            rows,
        )


_KINDS = ("vcpus", "memory_mib", "disk_gib")

# The rows come as one JSON parameter, by way of an array: of an array the planner expects 10 rows and finds each by
# its key; of a JSON list it would expect 100 and read the whole of smaller tables.
_AT_ONCE = text("""
WITH won AS (
    SELECT each.*
    FROM unnest(ARRAY(SELECT json_array_elements(CAST(:won AS json)))) AS element,
        json_to_record(element) AS each(
            operation_id text, attempt int, instance_uuid text, host text, epoch int,
            vcpus int, memory_mib int, disk_gib int, hardware text, group_id text, group_slot int
        )
), placed AS (
    INSERT INTO allocation
        (instance_uuid, host, epoch, state, operation_id, vcpus, memory_mib, disk_gib, created_at,
         hardware, group_id, group_slot)
    SELECT instance_uuid, host, epoch, :reserved, operation_id, vcpus, memory_mib, disk_gib, :moment,
        hardware, group_id, group_slot
    FROM won
    ON CONFLICT (instance_uuid, host, epoch) DO NOTHING
    RETURNING host, vcpus, memory_mib, disk_gib
), asked AS (
    SELECT host, sum(vcpus) AS vcpus, sum(memory_mib) AS memory_mib, sum(disk_gib) AS disk_gib
    FROM placed GROUP BY host
), raised AS (
    UPDATE host_capacity AS h
    SET used_vcpus = h.used_vcpus + asked.vcpus,
        used_memory_mib = h.used_memory_mib + asked.memory_mib,
        used_disk_gib = h.used_disk_gib + asked.disk_gib,
        quarantine = h.probation,
        change = CAST(CAST(pg_current_xact_id() AS text) AS bigint)
    FROM asked
    WHERE h.host = asked.host AND h.enabled = 1 AND h.up = 1 AND h.draining = 0 AND h.quarantine = ''
        AND (asked.vcpus = 0 OR h.used_vcpus + asked.vcpus <= h.total_vcpus)
        AND (asked.memory_mib = 0 OR h.used_memory_mib + asked.memory_mib <= h.total_memory_mib)
        AND (asked.disk_gib = 0 OR h.used_disk_gib + asked.disk_gib <= h.total_disk_gib)
    RETURNING h.host
), moved AS (
    UPDATE operation
    SET state = :dispatched, host = won.host, dispatched_at = :moment
    FROM won
    WHERE operation.id = won.operation_id AND operation.attempt = won.attempt
        AND operation.state = :scheduling
    RETURNING operation.id
), located AS (
    UPDATE instance SET host = won.host FROM won WHERE instance.uuid = won.instance_uuid
)
SELECT (SELECT count(*) FROM asked) AS hosts, (SELECT count(*) FROM raised) AS raised,
    (SELECT count(*) FROM moved) AS moved
""")


def _write_at_once(conn: Connection, won: Sequence[Won], moment: str) -> None:
    states = {
        "reserved": PlacementState.RESERVED.value,
        "dispatched": OperationState.DISPATCHED.value,
        "scheduling": OperationState.SCHEDULING.value,
    }
    done = conn.execute(_AT_ONCE, {"won": codec.to_json(won), "moment": moment, **states}).one()
    _must_equal(done.raised, done.hosts)
    _must_equal(done.moved, len(won))


def _write_in_steps(conn: Connection, won: Sequence[Won], moment: str) -> None:
    inserted = _insert(conn, won, moment)
    asked = _by_host((each.host, each.ask) for each in won if (each.instance_uuid, each.host, each.epoch) in inserted)
    if asked:
        raised = conn.execute(_raise(conn), [_amounts(host, amount) for host, amount in asked])
        _must_equal(raised.rowcount, len(asked))
    moved = conn.execute(
        _DISPATCHED,
        [{"of_id": each.operation_id, "of_attempt": each.attempt, "at_host": each.host, "at": moment} for each in won],
    )
    _must_equal(moved.rowcount, len(won))
    conn.execute(_LOCATED, [{"of_uuid": each.instance_uuid, "at_host": each.host} for each in won])


def _insert(conn: Connection, won: Sequence[Won], moment: str) -> set[tuple[str, str, int]]:
    a = allocation.c
    rows = [
        {
            "instance_uuid": each.instance_uuid,
            "host": each.host,
            "epoch": each.epoch,
            "state": PlacementState.RESERVED.value,
            "operation_id": each.operation_id,
            "vcpus": each.vcpus,
            "memory_mib": each.memory_mib,
            "disk_gib": each.disk_gib,
            "created_at": moment,
            "hardware": each.hardware,
            "group_id": each.group_id,
            "group_slot": each.group_slot,
        }
        for each in won
    ]
    # Only of the placement itself: a slot of a group that is taken twice must fail.
    ignoring = insert(allocation).on_conflict_do_nothing(index_elements=(a.instance_uuid, a.host, a.epoch))
    result = conn.execute(ignoring.returning(a.instance_uuid, a.host, a.epoch), rows)
    return {(row.instance_uuid, row.host, row.epoch) for row in result}


def _raise(conn: Connection) -> Any:
    h = host_capacity.c
    fits = [
        or_(bindparam(f"ask_{kind}") == 0, h[f"used_{kind}"] + bindparam(f"ask_{kind}") <= h[f"total_{kind}"])
        for kind in _KINDS
    ]
    values = {f"used_{kind}": h[f"used_{kind}"] + bindparam(f"ask_{kind}") for kind in _KINDS}
    values["quarantine"] = h.probation
    return (
        update(host_capacity)
        .where(h.host == bindparam("of_host"), *OPEN, *fits)
        .values(change=change_stamp(conn), **values)
    )


_DISPATCHED = (
    update(operation)
    .where(
        operation.c.id == bindparam("of_id"),
        operation.c.attempt == bindparam("of_attempt"),
        operation.c.state == OperationState.SCHEDULING.value,
    )
    .values(state=OperationState.DISPATCHED.value, host=bindparam("at_host"), dispatched_at=bindparam("at"))
)
_LOCATED = update(instance).where(instance.c.uuid == bindparam("of_uuid")).values(host=bindparam("at_host"))


def _by_host(amounts: Iterable[tuple[str, Resources]]) -> list[tuple[str, Resources]]:
    """Amounts added up a host, sorted by host."""
    totals: dict[str, Resources] = {}
    for host, amount in amounts:
        so_far = totals.get(host, Resources())
        totals[host] = Resources(
            vcpus=so_far.vcpus + amount.vcpus,
            memory_mib=so_far.memory_mib + amount.memory_mib,
            disk_gib=so_far.disk_gib + amount.disk_gib,
        )
    return sorted(totals.items())


def _amounts(host: str, amount: Resources) -> dict[str, Any]:
    return {
        "of_host": host,
        "ask_vcpus": amount.vcpus,
        "ask_memory_mib": amount.memory_mib,
        "ask_disk_gib": amount.disk_gib,
    }


def _must_equal(actual: int, expected: int) -> None:
    """The rows were locked and looked at, so this is a guard: rather do it again than over-commit."""
    if actual != expected:
        raise errors.StoreBusy(detail=f"a claim wrote {actual} of {expected} rows")

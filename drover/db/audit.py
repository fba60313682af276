"""Where rows contradict each other: one statement a check, each of one snapshot, answering the offenders only.

A check must not tell of what is merely under way, so each compares rows that one transaction writes together.
Heals are transactions of their own that look again first: what has changed since is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from drover.clock import to_iso
from drover.db import claim, host
from drover.db.host_table import change_stamp
from drover.db.schema import host_capacity

__all__ = ["CHECKS", "Check", "heal", "look"]

#: rows of one check; an audit that finds more says so
MOST = 200
#: a clean-up on a host that speaks takes seconds
CLEANUP_S = 600.0
#: bytes of an image come within hours
UPLOAD_S = 86400.0

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """*heal* answers whether the row was as it had been found, and is mended now."""

    code: str
    query: str
    heal: Callable[[Connection, Row], bool] | None = None


def look(conn: Connection, check: Check, now: datetime, *, owner_lease_s: float) -> tuple[list[Row], bool]:
    """Rows that the check is about, and whether there are more of them."""
    values = {
        "unowned": to_iso(now - timedelta(seconds=4 * owner_lease_s)),
        "cleanup": to_iso(now - timedelta(seconds=CLEANUP_S)),
        "upload": to_iso(now - timedelta(seconds=UPLOAD_S)),
        "most": MOST + 1,
    }
    query = text(_written_out(check.query) + " LIMIT :most")
    used = {name: value for name, value in values.items() if name in query.compile().params}
    rows: list[Row] = [
        {**row, "now": to_iso(now), "unowned": values["unowned"]} for row in conn.execute(query, used).mappings()
    ]
    return rows[:MOST], len(rows) > MOST


def heal(conn: Connection, check: Check, row: Row) -> bool:
    """Mend what *row* tells of, in the caller's transaction; False: it has changed, and is left alone."""
    return check.heal is not None and check.heal(conn, row)


#: conditions that several statements share, written there as NAME(uuid)
_CONDITIONS = {
    # No verb is under way on the instance.
    "IDLE": "NOT EXISTS (SELECT 1 FROM operation AS idle WHERE idle.instance_uuid = {0} AND idle.unfinished = 1)",
    # The instance is gone, and no host that may run holds anything of it.
    "UNHELD": """NOT EXISTS (SELECT 1 FROM instance AS live WHERE live.uuid = {0} AND live.deleted_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM allocation AS held WHERE held.instance_uuid = {0}
            AND NOT EXISTS (SELECT 1 FROM host AS off WHERE off.name = held.host AND off.fence <> ''))""",
}
_CONDITION = re.compile(rf"\b({'|'.join(_CONDITIONS)})\((\S+?)\)")


def _written_out(statement: str) -> str:
    return _CONDITION.sub(lambda found: _CONDITIONS[found[1]].format(found[2]), statement)


# --- heals ---------------------------------------------------------------------------------------------------


def _recount(conn: Connection, row: Row) -> bool:
    """Claims hold the host's row while they insert and releases lower it by what they deleted, so with the row held
    the sum is what it should be."""
    host.hold(conn, row["host"])
    sums = conn.execute(text(_SUMS), {"host": row["host"]}).mappings().one()
    h = host_capacity.c
    values: dict[Any, Any] = {f"used_{kind}": int(sums[kind]) for kind in ("vcpus", "memory_mib", "disk_gib")}
    update = host_capacity.update().where(h.host == row["host"]).values(change=change_stamp(conn), **values)
    return conn.execute(update).rowcount == 1


_SUMS = """
SELECT COALESCE(SUM(vcpus), 0) AS vcpus, COALESCE(SUM(memory_mib), 0) AS memory_mib,
    COALESCE(SUM(disk_gib), 0) AS disk_gib
FROM allocation WHERE host = :host
"""


def _release_reserved(conn: Connection, row: Row) -> bool:
    """An order that was never handed out, of an operation that has ended, never will be."""
    key = {"uuid": row["instance_uuid"], "host": row["host"], "epoch": row["epoch"]}
    held = conn.execute(text(_STILL_RESERVED + _for_update(conn)), key).first()
    return held is not None and claim.release(
        conn, instance_uuid=row["instance_uuid"], host=row["host"], epoch=row["epoch"]
    )


_STILL_RESERVED = """
SELECT a.host FROM allocation AS a
WHERE a.instance_uuid = :uuid AND a.host = :host AND a.epoch = :epoch AND a.state = 'reserved'
    AND NOT EXISTS (SELECT 1 FROM operation AS o WHERE o.id = a.operation_id AND o.unfinished = 1)
"""


def _for_update(conn: Connection) -> str:
    return " FOR UPDATE" if conn.dialect.name == "postgresql" else ""


def _by(statement: str, *names: str) -> Callable[[Connection, Row], bool]:
    """A heal that is one conditional statement over columns of the finding's row."""

    def run(conn: Connection, row: Row) -> bool:
        return conn.execute(text(_written_out(statement)), {name: row[name] for name in names}).rowcount > 0

    return run


# --- checks --------------------------------------------------------------------------------------------------

CHECKS: tuple[Check, ...] = (
    Check(
        code="CapacityDrift",
        query="""
SELECT h.host, h.used_vcpus, h.used_memory_mib, h.used_disk_gib, COALESCE(s.vcpus, 0) AS vcpus,
    COALESCE(s.memory_mib, 0) AS memory_mib, COALESCE(s.disk_gib, 0) AS disk_gib
FROM host_capacity AS h LEFT JOIN (
    SELECT host, SUM(vcpus) AS vcpus, SUM(memory_mib) AS memory_mib, SUM(disk_gib) AS disk_gib
    FROM allocation GROUP BY host
) AS s ON s.host = h.host
WHERE h.used_vcpus <> COALESCE(s.vcpus, 0) OR h.used_memory_mib <> COALESCE(s.memory_mib, 0)
    OR h.used_disk_gib <> COALESCE(s.disk_gib, 0)
ORDER BY h.host""",
        heal=_recount,
    ),
    Check(
        code="OverCommitted",
        query="""
SELECT host, used_vcpus, total_vcpus, used_memory_mib, total_memory_mib, used_disk_gib, total_disk_gib
FROM host_capacity
WHERE used_vcpus > total_vcpus OR used_memory_mib > total_memory_mib OR used_disk_gib > total_disk_gib
ORDER BY host""",
    ),
    Check(
        code="HostDown",
        query="""
SELECT h.name AS host, h.last_sync_at, (SELECT COUNT(*) FROM allocation AS a WHERE a.host = h.name) AS placements
FROM host AS h JOIN host_capacity AS c ON c.host = h.name
WHERE c.up = 0 AND h.fence = ''
ORDER BY h.name""",
    ),
    Check(
        code="TwoCopies",
        query="""
SELECT a.instance_uuid, i.name, COUNT(*) AS copies, MIN(a.host) AS first_host, MAX(a.host) AS last_host
FROM allocation AS a LEFT JOIN instance AS i ON i.uuid = a.instance_uuid
WHERE a.state IN ('permitted', 'active')
GROUP BY a.instance_uuid, i.name HAVING COUNT(*) > 1
ORDER BY a.instance_uuid""",
    ),
    Check(
        code="AffinityBroken",
        query="""
SELECT g.id AS group_id, g.name, COUNT(DISTINCT a.host) AS hosts, MIN(a.host) AS first_host, MAX(a.host) AS last_host
FROM server_group AS g
    JOIN server_group_member AS m ON m.group_id = g.id JOIN allocation AS a ON a.instance_uuid = m.instance_uuid
WHERE g.policy = 'affinity' AND EXISTS (
    SELECT 1 FROM server_group_member AS n JOIN allocation AS b ON b.instance_uuid = n.instance_uuid
    WHERE n.group_id = g.id AND n.instance_uuid <> m.instance_uuid AND b.host <> a.host
)
GROUP BY g.id, g.name
ORDER BY g.id""",
    ),
    Check(
        code="AntiAffinityBroken",
        query="""
SELECT g.id AS group_id, g.name, g.max_per_host, a.host, COUNT(*) AS members
FROM server_group AS g
    JOIN server_group_member AS m ON m.group_id = g.id JOIN allocation AS a ON a.instance_uuid = m.instance_uuid
WHERE g.policy = 'anti-affinity'
GROUP BY g.id, g.name, g.max_per_host, a.host HAVING COUNT(*) > g.max_per_host
ORDER BY g.id, a.host""",
    ),
    Check(
        code="NoCopy",
        query="""
SELECT i.uuid AS instance_uuid, i.name, i.vm_state, i.host, i.epoch
FROM instance AS i
WHERE i.deleted_at IS NULL
    AND i.vm_state IN ('active', 'stopped', 'paused', 'suspended', 'rescued', 'soft-delete')
    AND NOT EXISTS (
        SELECT 1 FROM allocation AS a WHERE a.instance_uuid = i.uuid AND a.epoch = i.epoch AND a.state = 'active'
    ) AND IDLE(i.uuid)
ORDER BY i.uuid""",
    ),
    Check(
        code="WrongHost",
        query="""
SELECT i.uuid AS instance_uuid, i.name, i.host AS recorded_host, a.host, a.epoch
FROM instance AS i JOIN allocation AS a ON a.instance_uuid = i.uuid AND a.epoch = i.epoch AND a.state = 'active'
WHERE i.deleted_at IS NULL AND i.host <> a.host AND IDLE(i.uuid)
ORDER BY i.uuid""",
        heal=_by(
            """
UPDATE instance SET host = :host
WHERE uuid = :instance_uuid AND host = :recorded_host AND epoch = :epoch AND deleted_at IS NULL
    AND 1 = (SELECT COUNT(*) FROM allocation AS a WHERE a.instance_uuid = :instance_uuid AND a.state <> 'leaving')
    AND EXISTS (SELECT 1 FROM allocation AS a WHERE a.instance_uuid = :instance_uuid AND a.host = :host
        AND a.epoch = :epoch AND a.state = 'active')
    AND IDLE(:instance_uuid)""",
            "instance_uuid",
            "host",
            "recorded_host",
            "epoch",
        ),
    ),
    Check(
        code="BuildingByNobody",
        query="""
SELECT i.uuid AS instance_uuid, i.name, i.created_at FROM instance AS i
WHERE i.deleted_at IS NULL AND i.vm_state = 'building' AND IDLE(i.uuid)
ORDER BY i.uuid""",
    ),
    Check(
        code="OperationUnowned",
        query="""
SELECT id, action, state, instance_name, owner, owner_until FROM operation
WHERE unfinished = 1 AND (owner_until IS NULL OR owner_until < :unowned)
ORDER BY id""",
        heal=_by(
            """
UPDATE operation SET owner_until = :now
WHERE id = :id AND unfinished = 1 AND (owner_until IS NULL OR owner_until < :unowned)""",
            "id",
            "unowned",
            "now",
        ),
    ),
    Check(
        code="OperationOverdue",
        query="""
SELECT id, action, state, instance_name, host, attempt, created_at, queue_budget_s, run_budget_s FROM operation
WHERE unfinished = 1 AND waits = '' AND created_at < :cleanup
ORDER BY created_at, id""",
    ),
    Check(
        code="OperationOfDeleted",
        query="""
SELECT o.id, o.action, o.state, o.instance_name, o.instance_uuid FROM operation AS o
WHERE o.unfinished = 1
    AND NOT EXISTS (SELECT 1 FROM instance AS i WHERE i.uuid = o.instance_uuid AND i.deleted_at IS NULL)
ORDER BY o.id""",
    ),
    Check(
        code="PlacementOfDeleted",
        query="""
SELECT a.instance_uuid, a.host, a.epoch, a.state, i.name
FROM allocation AS a JOIN instance AS i ON i.uuid = a.instance_uuid
WHERE a.state <> 'leaving' AND i.deleted_at IS NOT NULL AND IDLE(i.uuid)
ORDER BY a.instance_uuid, a.host""",
        heal=_by(
            """
UPDATE allocation SET state = 'leaving'
WHERE instance_uuid = :instance_uuid AND host = :host AND epoch = :epoch AND state <> 'leaving'
    AND EXISTS (SELECT 1 FROM instance AS i WHERE i.uuid = :instance_uuid AND i.deleted_at IS NOT NULL)
    AND IDLE(:instance_uuid)""",
            "instance_uuid",
            "host",
            "epoch",
        ),
    ),
    Check(
        code="PlacementOfUnknown",
        query="""
SELECT a.instance_uuid, a.host, a.epoch, a.state FROM allocation AS a
WHERE a.state <> 'leaving' AND NOT EXISTS (SELECT 1 FROM instance AS i WHERE i.uuid = a.instance_uuid)
ORDER BY a.instance_uuid, a.host""",
    ),
    Check(
        code="PlacementOnUnknownHost",
        query="""
SELECT a.instance_uuid, a.host, a.epoch, a.state FROM allocation AS a
WHERE NOT EXISTS (SELECT 1 FROM host AS h WHERE h.name = a.host)
ORDER BY a.host, a.instance_uuid""",
    ),
    Check(
        code="ReservedForNothing",
        query="""
SELECT a.instance_uuid, a.host, a.epoch, a.operation_id, a.vcpus, a.memory_mib, a.disk_gib FROM allocation AS a
WHERE a.state = 'reserved'
    AND NOT EXISTS (SELECT 1 FROM operation AS o WHERE o.id = a.operation_id AND o.unfinished = 1)
ORDER BY a.instance_uuid, a.host""",
        heal=_release_reserved,
    ),
    Check(
        code="HeldForNothing",
        query="""
SELECT a.instance_uuid, a.host, a.epoch, a.state, a.operation_id FROM allocation AS a
WHERE a.state IN ('held', 'permitted')
    AND NOT EXISTS (SELECT 1 FROM operation AS o WHERE o.id = a.operation_id AND o.unfinished = 1)
    AND EXISTS (SELECT 1 FROM instance AS i WHERE i.uuid = a.instance_uuid AND i.deleted_at IS NULL)
ORDER BY a.instance_uuid, a.host""",
    ),
    Check(
        code="CleanupPending",
        query="""
SELECT a.instance_uuid, a.host, a.epoch FROM allocation AS a
    JOIN host AS h ON h.name = a.host AND h.fence = '' JOIN host_capacity AS c ON c.host = a.host AND c.up = 1
WHERE a.state = 'leaving' AND NOT EXISTS (
    SELECT 1 FROM operation AS o WHERE o.instance_uuid = a.instance_uuid
        AND (o.unfinished = 1 OR o.finished_at > :cleanup)
) AND h.registered_at < :cleanup
ORDER BY a.host, a.instance_uuid""",
    ),
    Check(
        code="OrphanDomain",
        query="""
SELECT host, instance_uuid, epoch, power_state, first_seen_at, seen_at FROM orphan
WHERE first_seen_at <> seen_at AND power_state <> 'disk'
ORDER BY host, instance_uuid""",
    ),
    Check(
        code="OrphanDisk",
        query="""
SELECT host, instance_uuid, epoch, first_seen_at FROM orphan
WHERE first_seen_at <> seen_at AND power_state = 'disk'
ORDER BY host, instance_uuid""",
    ),
    Check(
        code="OrphanPort",
        query="SELECT p.id, p.ip, p.mac, p.instance_uuid FROM port AS p WHERE UNHELD(p.instance_uuid) ORDER BY p.id",
        heal=_by("DELETE FROM port WHERE id = :id AND UNHELD(port.instance_uuid)", "id"),
    ),
    Check(
        code="SecretLeft",
        query="""
SELECT s.instance_uuid FROM instance_secret AS s WHERE UNHELD(s.instance_uuid) ORDER BY s.instance_uuid""",
        heal=_by(
            """
DELETE FROM instance_secret WHERE instance_uuid = :instance_uuid AND UNHELD(instance_secret.instance_uuid)""",
            "instance_uuid",
        ),
    ),
    Check(
        code="ImageNeverFilled",
        query="""
SELECT m.id, m.name, m.created_at FROM image AS m
WHERE m.status = 'queued' AND m.url = '' AND m.deleted_at IS NULL AND m.created_at < :upload
ORDER BY m.id""",
    ),
)

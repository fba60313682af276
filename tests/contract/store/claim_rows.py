"""Rows to claim with: hosts, and builds that wait for one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from drover.clock import to_iso
from drover.db import operation, server_group
from drover.db.claim import Claim
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.db.schema import allocation, host_capacity, instance
from drover.db.schema import operation as operation_table
from drover.objects import codec
from drover.objects.catalog import Flavor
from drover.objects.group import GroupPolicy, Hints, ServerGroup
from drover.objects.host import Resources
from drover.objects.operation import Operation
from drover.states import Action, OperationState

__all__ = ["ASK", "NOW", "add_builds", "add_group", "add_host", "ask_for", "states", "sums", "used"]

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
ASK = Resources(vcpus=1, memory_mib=512, disk_gib=2)
_FLAVOR = Flavor(id="f", name="small", vcpus=ASK.vcpus, memory_mib=ASK.memory_mib, disk_gib=ASK.disk_gib)


def add_host(database: Database, name: str, *, places: int = 4, **facts: Any) -> None:
    """An empty host with room for *places* of :data:`ASK`, but for *facts*."""
    values: dict[str, Any] = {
        "enabled": 1,
        "disabled_reason": "",
        "up": 1,
        "total_vcpus": places * ASK.vcpus,
        "total_memory_mib": places * ASK.memory_mib,
        "total_disk_gib": places * ASK.disk_gib,
        "used_vcpus": 0,
        "used_memory_mib": 0,
        "used_disk_gib": 0,
        "architecture": "x86_64",
        "virt_types": '["qemu"]',
        "traits": "[]",
        "draining": 0,
        "quarantine": "",
        "probation": "",
        "failures": 0,
        "aggregates": "[]",
        "hardware": "",
    }
    with database.write() as conn:
        conn.execute(insert(host_capacity).values(host=name, change=change_stamp(conn), **(values | facts)))


def add_builds(
    database: Database,
    ids: Sequence[str],
    *,
    attempt: int = 1,
    epoch: int = 1,
    hints: Hints | None = None,
    **facts: Any,
) -> None:
    """Builds in ``scheduling``; the instance of operation ``o`` is ``i-o``."""
    builds = [
        Operation(
            id=each,
            instance_uuid=f"i-{each}",
            instance_name=f"n-{each}",
            action=Action.BUILD,
            state=facts.get("state", OperationState.SCHEDULING),
            attempt=attempt,
            excluded_hosts=facts.get("excluded_hosts", ()),
            params=facts.get("params", {}),
            request_id=facts.get("request_id", "req-1"),
            created_at=NOW,
        )
        for each in ids
    ]
    rows = [
        {
            "uuid": f"i-{each}",
            "name": f"n-{each}",
            "project_id": "default",
            "user_id": "admin",
            "flavor": codec.to_json(facts.get("flavor", _FLAVOR)),
            "image_id": "image",
            "image_name": "image",
            "key_name": "",
            "vm_state": "building",
            "power_state": "unknown",
            "host": "",
            "epoch": epoch,
            "locked": 0,
            "fault": "",
            "metadata": "{}",
            "tags": "[]",
            "restart": "never",
            "restarts": 0,
            "shelved_image_id": "",
            "usage": "",
            "observed": 0,
            "hints": codec.to_json(hints) if hints else "",
            "created_at": to_iso(NOW),
        }
        for each in ids
    ]
    with database.write() as conn:
        conn.execute(insert(instance), rows)
        operation.add(conn, builds, owner_until=NOW, keys={})


def add_group(database: Database, id_: str, policy: GroupPolicy, *, max_per_host: int = 1) -> ServerGroup:
    group = ServerGroup(id=id_, name=id_, policy=policy, max_per_host=max_per_host, created_at=NOW)
    with database.write() as conn:
        server_group.add(conn, group)
    return group


def ask_for(operation_id: str, *candidates: str, attempt: int = 1, ask: Resources = ASK, **more: Any) -> Claim:
    """The claim of one of :func:`add_builds`."""
    return Claim(
        operation_id=operation_id,
        attempt=attempt,
        instance_uuid=f"i-{operation_id}",
        candidates=candidates,
        ask=ask,
        **more,
    )


def used(database: Database) -> dict[str, Resources]:
    """What each host's row says is used."""
    with database.read() as conn:
        return {
            row.host: Resources(vcpus=row.used_vcpus, memory_mib=row.used_memory_mib, disk_gib=row.used_disk_gib)
            for row in conn.execute(select(host_capacity).order_by(host_capacity.c.host))
        }


def sums(database: Database) -> dict[str, Resources]:
    """What each host's allocations add up to: the truth that :func:`used` must equal."""
    a = allocation.c
    query = select(a.host, func.sum(a.vcpus), func.sum(a.memory_mib), func.sum(a.disk_gib)).group_by(a.host)
    with database.read() as conn:
        found = {
            host: Resources(vcpus=int(vcpus), memory_mib=int(memory_mib), disk_gib=int(disk_gib))
            for host, vcpus, memory_mib, disk_gib in conn.execute(query)
        }
        hosts = conn.execute(select(host_capacity.c.host)).scalars()
        return {host: found.get(host, Resources()) for host in sorted(hosts)}


def states(database: Database) -> dict[str, tuple[str, str]]:
    """(state, host) of each operation."""
    o = operation_table.c
    with database.read() as conn:
        return {row.id: (row.state, row.host) for row in conn.execute(select(o.id, o.state, o.host).order_by(o.id))}

"""The promises of DESIGN §1, looked at from outside: hypervisors and database, never the code under test."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from tests.simulation.world import World

__all__ = ["at_rest", "at_switch"]

#: the database is summed at every so many switches; hypervisors at each
_LOOK_EVERY = 25


def at_switch(world: World) -> None:
    """Holds at every instant."""
    _one_running_domain(world)
    if world.kernel.switches % _LOOK_EVERY == 0:
        with world.database.read() as conn:
            _claims_fit(conn)


def at_rest(world: World) -> None:
    """Holds once everything is healed and no operation is unfinished."""
    _one_running_domain(world)
    with world.database.read() as conn:
        _claims_fit(conn)
        _used_is_the_sum_of_claims(conn)
        unfinished = _rows(conn, "SELECT id, action, state, host FROM operation WHERE unfinished = 1")
        assert not unfinished, f"stuck: {unfinished}"
        _every_end_has_a_reason(conn)
        _records_and_guests_agree(world, conn)
        _addresses_are_accounted_for(conn)


def _rows(conn: sa.Connection, query: str) -> list[Any]:
    return list(conn.execute(sa.text(query)))


def _one_running_domain(world: World) -> None:
    """Promise 1: at most one running domain per instance, fleet-wide."""
    running = Counter(g.uuid for host in world.hosts.values() for g in host.guests.list() if g.active)
    doubled = {uuid: n for uuid, n in running.items() if n > 1}
    assert not doubled, f"doubled: {doubled}"


def _claims_fit(conn: sa.Connection) -> None:
    """Promise 2: claims never exceed inventory."""
    over = _rows(
        conn,
        "SELECT host, used_vcpus, total_vcpus FROM host_capacity WHERE used_vcpus > total_vcpus"
        " OR used_memory_mib > total_memory_mib OR used_disk_gib > total_disk_gib",
    )
    assert not over, f"over-committed: {over}"


def _used_is_the_sum_of_claims(conn: sa.Connection) -> None:
    wrong = _rows(
        conn,
        "SELECT c.host, c.used_vcpus, COALESCE(SUM(a.vcpus), 0) FROM host_capacity c LEFT JOIN allocation a"
        " ON a.host = c.host GROUP BY c.host, c.used_vcpus, c.used_memory_mib, c.used_disk_gib"
        " HAVING c.used_vcpus <> COALESCE(SUM(a.vcpus), 0) OR c.used_memory_mib <> COALESCE(SUM(a.memory_mib), 0)"
        " OR c.used_disk_gib <> COALESCE(SUM(a.disk_gib), 0)",
    )
    assert not wrong, f"capacity lost or doubled: {wrong}"


def _every_end_has_a_reason(conn: sa.Connection) -> None:
    """Promise 3, its second half: a failed or cancelled operation says why."""
    silent = _rows(conn, "SELECT id, state FROM operation WHERE state IN ('failed', 'cancelled') AND error = ''")
    assert not silent, f"ended without a reason: {silent}"


def _records_and_guests_agree(world: World, conn: sa.Connection) -> None:
    """Every active instance runs where its record says, every deleted one runs nowhere, and nothing else is there."""
    instances = {
        row.uuid: row for row in _rows(conn, "SELECT uuid, name, vm_state, host, epoch, deleted_at FROM instance")
    }
    placements = {
        (row.instance_uuid, row.host): row
        for row in _rows(conn, "SELECT instance_uuid, host, epoch, state FROM allocation")
    }
    seen: dict[tuple[str, str], Any] = {
        (g.uuid, host.name): g for host in world.hosts.values() for g in host.guests.list()
    }
    for uuid, row in instances.items():
        guest = seen.get((uuid, row.host))
        if row.vm_state in ("active", "stopped"):
            assert guest is not None, f"lost: {row} has no guest"
            assert guest.epoch == row.epoch, f"{row} has a guest of epoch {guest.epoch}"
            assert guest.active is (row.vm_state == "active"), f"{row} is {guest.power_state}"
            assert placements[uuid, row.host].state == "active"
    for (uuid, host), guest in seen.items():
        assert uuid in instances, f"guest without a record: {guest}"
        assert (uuid, host) in placements, f"remains on {host} that no record entitles to clean up: {guest}"
    for (uuid, host), row in placements.items():
        assert row.state == "active", f"placement never settled: {uuid} on {host}: {row}"
        assert instances[uuid].deleted_at is None, f"deleted instance {uuid} still holds {host}"


def _addresses_are_accounted_for(conn: sa.Connection) -> None:
    lost = _rows(
        conn,
        "SELECT p.ip, i.uuid, i.deleted_at FROM port p LEFT JOIN instance i ON i.uuid = p.instance_uuid"
        " WHERE i.uuid IS NULL OR (i.deleted_at IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM allocation a WHERE a.instance_uuid = p.instance_uuid))",
    )
    assert not lost, f"addresses lost: {lost}"
    missing = _rows(
        conn,
        "SELECT i.uuid FROM instance i WHERE i.deleted_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM port p WHERE p.instance_uuid = i.uuid)",
    )
    assert not missing, f"instances without their address: {missing}"

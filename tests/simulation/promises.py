"""The promises of DESIGN §1 once everything is healed: looked at from outside, never by the code under test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from drover import errors
from drover.clock import from_iso
from drover.states import VERBS, Action
from tests.simulation.machine import FOREIGN
from tests.simulation.plan import Kind
from tests.simulation.world import TIMES, World

__all__ = ["at_rest", "under_way"]

#: beyond budgets and faults: leases to run out, rounds to come
_BOUND_S = 120.0
_ATTEMPTS = 3

#: power state of the guest by vm_state; None: whatever it is
_POWER = {
    "active": "running",
    "rescued": "running",
    "paused": "paused",
    "stopped": "shutdown",
    "suspended": "shutdown",
    "soft-delete": "shutdown",
}


def under_way(world: World) -> list[Any]:
    """Operations that have not ended, placements that have not settled, processes that are not back."""
    return [
        *world.store.rows("SELECT id, action, state, attempt, host FROM operation WHERE unfinished = 1"),
        *([] if world.watch.amnesia else _unsettled(world)),
        *world.store.rows(
            "SELECT uuid, soft_deleted_at FROM instance WHERE soft_deleted_at <> '' AND deleted_at IS NULL"
        ),
        *(name for name in world.names() if world.incarnation(name) is None),
    ]


def _unsettled(world: World) -> list[Any]:
    return world.store.rows("SELECT instance_uuid, host, epoch, state FROM allocation WHERE state <> 'active'")


def at_rest(world: World, answers: Sequence[tuple[Action, str]]) -> None:
    """Holds once all faults are over and nothing is under way.

    :raises AssertionError: saying which promise is broken.
    """
    world.watch.check()
    assert not under_way(world), f"promise 3: stuck: {under_way(world)}"
    _used_is_the_sum_of_claims(world)
    _foreign_is_untouched(world)
    _ends_in_time(world)
    _every_end_has_a_reason(world, answers)
    _addresses_are_accounted_for(world)
    if world.watch.amnesia:
        _orphans_are_listed(world)
    else:
        _records_and_guests_agree(world)
        stray = world.store.rows("SELECT * FROM orphan WHERE power_state = 'disk' AND first_seen_at <> seen_at")
        assert not stray, f"remains are told that no record names: {stray}"


def _used_is_the_sum_of_claims(world: World) -> None:
    wrong = world.store.rows(
        "SELECT c.host, c.used_vcpus, COALESCE(SUM(a.vcpus), 0) FROM host_capacity c LEFT JOIN allocation a"
        " ON a.host = c.host GROUP BY c.host, c.used_vcpus, c.used_memory_mib, c.used_disk_gib"
        " HAVING c.used_vcpus <> COALESCE(SUM(a.vcpus), 0) OR c.used_memory_mib <> COALESCE(SUM(a.memory_mib), 0)"
        " OR c.used_disk_gib <> COALESCE(SUM(a.disk_gib), 0)"
    )
    assert not wrong, f"promise 2: capacity lost or doubled: {wrong}"


def _foreign_is_untouched(world: World) -> None:
    crashed = {fault.target for fault in world.plan.faults if fault.kind is Kind.CRASH}
    for machine in world.machines.values():
        guest = machine.guests.get(f"{FOREIGN}-{machine.host}")
        assert guest is not None, f"promise 4: the foreign domain of {machine.name} is gone"
        assert guest.active or machine.host in crashed, f"promise 4: the foreign domain of {machine.name} is off"


def _ends_in_time(world: World) -> None:
    """Promise 3: within the budgets, the time that things were broken, and a bound."""
    plan = world.plan
    grace_s = plan.broken_s() + sum(abs(fault.amount) for fault in plan.faults) + TIMES.owner_lease_s + _BOUND_S
    query = "SELECT id, action, queue_budget_s, run_budget_s, created_at, finished_at FROM operation"
    for op, action, queue_s, run_s, created, finished in world.store.rows(query):
        attempts = _ATTEMPTS if VERBS[Action(action)].places else 1
        allowed_s = attempts * (queue_s + run_s) + grace_s
        took_s = (from_iso(finished) - from_iso(created)).total_seconds()
        assert took_s <= allowed_s, f"promise 3: {action} {op} took {took_s:.0f} s, {allowed_s:.0f} s allowed"


def _every_end_has_a_reason(world: World, answers: Sequence[tuple[Action, str]]) -> None:
    """Promise 7: a typed code, and words."""
    query = "SELECT id, action, state, error FROM operation WHERE state IN ('failed', 'cancelled')"
    for op, action, state, text in world.store.rows(query):
        error = json.loads(text or "{}")
        code, words = error.get("code", ""), error.get("message", "")
        assert code, f"promise 7: {action} {op} {state} without a reason"
        assert words, f"promise 7: {action} {op} {state} by {code} without words"
        assert _is_typed(code), f"promise 7: {action} {op} {state} by {code}: {words}"
    for what, answer in answers:
        assert answer == "accepted" or _is_typed(answer), f"promise 7: {what} was refused by {answer}"


def _is_typed(code: str) -> bool:
    return errors.by_code(code) is not errors.DroverError


def _records_and_guests_agree(world: World) -> None:
    """Every instance is on its host as its record says, every deleted one is nowhere, and nothing else is there."""
    placements = {
        (uuid, host): epoch
        for uuid, host, epoch in world.store.rows("SELECT instance_uuid, host, epoch FROM allocation")
    }
    seen = {(guest.uuid, machine.host): guest for machine, guest in world.guests()}
    query = "SELECT uuid, name, vm_state, host, epoch, power_state FROM instance WHERE deleted_at IS NULL"
    instances = {row[0]: row for row in world.store.rows(query)}
    for uuid, name, vm_state, host, epoch, power_state in instances.values():
        if vm_state in _POWER:
            guest = seen.get((uuid, host))
            words = f"{name} {uuid} is {vm_state} on {host} with epoch {epoch}"
            assert guest is not None, f"lost: {words} and has no guest"
            assert guest.epoch == epoch, f"{words}, its guest has epoch {guest.epoch}"
            # A rescue system that ends by itself leaves the instance rescued, and its power state says the rest.
            expected = power_state if vm_state == "rescued" else _POWER[vm_state]
            assert guest.power_state == expected, f"{words}, its guest is {guest.power_state}"
            assert placements.get((uuid, host)) == epoch, f"{words} without a placement"
            own = guest.rescue == (vm_state == "rescued")
            assert own or not guest.active, f"{words}, its guest runs the wrong system"
    for (uuid, host), guest in seen.items():
        assert (uuid, host) in placements, f"remains on {host} that no record entitles to clean up: {guest}"
    for uuid, host in placements:
        assert uuid in instances, f"deleted instance {uuid} still holds {host}"


def _orphans_are_listed(world: World) -> None:
    """A restored database does not know every guest: what no placement names is listed, and is still there."""
    placed = set(world.store.rows("SELECT instance_uuid, host FROM allocation"))
    listed = set(world.store.rows("SELECT instance_uuid, host FROM orphan"))
    for machine, guest in world.guests():
        here = (guest.uuid, machine.host)
        assert not guest.defined or here in placed | listed, f"promise 4: {here} is an orphan that nobody lists"


def _addresses_are_accounted_for(world: World) -> None:
    lost = world.store.rows(
        "SELECT p.ip, p.instance_uuid FROM port p LEFT JOIN instance i ON i.uuid = p.instance_uuid"
        " WHERE i.uuid IS NULL OR (i.deleted_at IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM allocation a WHERE a.instance_uuid = p.instance_uuid))"
    )
    assert not lost, f"addresses lost: {lost}"
    bare = world.store.rows(
        "SELECT i.uuid FROM instance i WHERE i.deleted_at IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM port p WHERE p.instance_uuid = i.uuid)"
    )
    assert not bare, f"instances without their address: {bare}"

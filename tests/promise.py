"""Drover's promises, looked at from outside: plain SQL, and the hypervisors as they are, never the code under test."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from drover.lab.spec import Driver
from tests.fleet import PATIENCE_S, Fleet

__all__ = ["Guest", "at_rest", "empty", "guests", "never_doubled", "qemus", "settles", "watched"]

_STAMP = "{urn:drover:instance:1}instance"
_HOST = re.compile(r"host\d+")
_QEMU_NAME = re.compile(r"guest=drover-([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A domain as its host shows it. ``life`` changes when it is started anew."""

    host: str
    uuid: str
    epoch: int
    running: bool
    life: int


def guests(fleet: Fleet) -> list[Guest]:
    """Every domain of every host, whoever made it."""
    hosts = fleet.lab.spec().host_names()
    if fleet.lab.spec().driver is Driver.FAKE:
        found = [guest for host in hosts for guest in _fake_guests(fleet, host)]
    else:
        pids = {(host, uuid): pid for host, uuid, pid in qemus(fleet)}
        found = [guest for host in hosts for guest in _domains(fleet, host, pids)]
    return sorted(found, key=lambda guest: (guest.host, guest.uuid))


def never_doubled(fleet: Fleet) -> None:
    """Promise 1; it holds at every instant, also while libvirtd or the database is dead."""
    if fleet.lab.spec().driver is Driver.FAKE:
        running = Counter(guest.uuid for guest in guests(fleet) if guest.running)
    else:
        running = Counter(uuid for _, uuid, _ in qemus(fleet))
    doubled = {uuid: count for uuid, count in running.items() if count > 1}
    assert not doubled, f"running more than once: {doubled}"


@contextmanager
def watched(fleet: Fleet) -> Iterator[None]:
    """Look for doubled guests several times a second as long as the block runs."""
    ended = fleet.runtime.event()
    seen: list[Exception] = []
    looks: list[None] = []

    def look() -> None:
        while not ended.wait(0.2):
            try:
                never_doubled(fleet)
                looks.append(None)
            except Exception as exc:
                seen.append(exc)
                return

    looking = fleet.runtime.spawn("watch", look)
    try:
        yield
    finally:
        ended.set()
        looking.join()
    assert not seen, seen[0]
    assert looks


def settles(fleet: Fleet, patience_s: float) -> bool:
    """Whether nothing is under way any more within *patience_s*."""
    deadline = fleet.runtime.clock.monotonic() + patience_s
    while _under_way(fleet):
        if fleet.runtime.clock.monotonic() > deadline:
            return False
        fleet.runtime.sleep(0.05)
    return True


def at_rest(fleet: Fleet) -> list[Guest]:
    """Once everything runs again: waits until nothing is under way, then everything adds up.  The guests there are."""
    assert settles(fleet, PATIENCE_S), f"stuck: {_under_way(fleet)}"
    never_doubled(fleet)
    _claims_fit(fleet)
    _capacity_is_the_sum_of_claims(fleet)
    _addresses_are_those_of_instances(fleet)
    _every_end_has_a_reason(fleet)
    letters = list((fleet.lab.layout.directory / "dead-letter").glob("*"))
    assert not letters, [letter.read_text() for letter in letters]
    found = guests(fleet)
    _records_and_guests_agree(fleet, found)
    _hosts_hold_nothing_else(fleet, found)
    return found


def empty(fleet: Fleet) -> None:
    """Nothing is left of any instance."""
    assert at_rest(fleet) == []
    assert fleet.rows("SELECT uuid FROM instance WHERE deleted_at IS NULL") == []
    assert fleet.rows("SELECT * FROM allocation") == []
    assert fleet.rows("SELECT * FROM port") == []
    assert fleet.rows("SELECT instance_uuid FROM instance_secret") == []


def _under_way(fleet: Fleet) -> list[tuple[Any, ...]]:
    return fleet.rows(
        "SELECT id, instance_uuid, action, state, host FROM operation WHERE unfinished = 1 OR state NOT IN"
        " ('succeeded', 'failed', 'cancelled')"
        " UNION ALL SELECT operation_id, instance_uuid, 'placement', state, host FROM allocation"
        " WHERE state <> 'active'"
    )


def _claims_fit(fleet: Fleet) -> None:
    over = fleet.rows(
        "SELECT host FROM host_capacity WHERE used_vcpus > total_vcpus"
        " OR used_memory_mib > total_memory_mib OR used_disk_gib > total_disk_gib"
    )
    assert not over, f"over-committed: {over}"


def _capacity_is_the_sum_of_claims(fleet: Fleet) -> None:
    claimed = {
        host: used
        for host, *used in fleet.rows(
            "SELECT host, sum(vcpus), sum(memory_mib), sum(disk_gib) FROM allocation GROUP BY 1"
        )
    }
    for host, *used in fleet.rows("SELECT host, used_vcpus, used_memory_mib, used_disk_gib FROM host_capacity"):
        assert used == claimed.pop(host, [0, 0, 0]), f"capacity of {host} was lost or doubled"
    assert not claimed, f"claims on hosts that are not there: {claimed}"


def _addresses_are_those_of_instances(fleet: Fleet) -> None:
    lost = fleet.rows(
        "SELECT p.ip, p.instance_uuid FROM port p LEFT JOIN instance i ON i.uuid = p.instance_uuid"
        " WHERE i.uuid IS NULL OR i.deleted_at IS NOT NULL"
    )
    assert not lost, f"addresses lost: {lost}"
    bare = fleet.rows(
        "SELECT i.uuid, i.name FROM instance i WHERE i.deleted_at IS NULL"
        " AND (SELECT count(*) FROM port p WHERE p.instance_uuid = i.uuid) <> 1"
    )
    assert not bare, f"instances without their one address: {bare}"


def _every_end_has_a_reason(fleet: Fleet) -> None:
    mute = fleet.rows("SELECT id, state FROM operation WHERE state IN ('failed', 'cancelled') AND error = ''")
    assert not mute, f"ended without a reason: {mute}"
    open_ended = fleet.rows("SELECT id, state FROM operation WHERE finished_at IS NULL")
    assert not open_ended, f"ended at no time: {open_ended}"


def _records_and_guests_agree(fleet: Fleet, found: list[Guest]) -> None:
    """Each instance has its one guest, on its host, of its epoch, in its state; and no guest is without a record."""
    there = sorted((guest.uuid, guest.host, guest.epoch, guest.running) for guest in found)
    expected = sorted(
        (uuid, host, epoch, state == "active")
        for uuid, host, epoch, state in fleet.rows(
            "SELECT uuid, host, epoch, vm_state FROM instance WHERE vm_state IN ('active', 'stopped')"
        )
    )
    assert there == expected
    placed = sorted(fleet.rows("SELECT instance_uuid, host, epoch FROM allocation"))
    assert placed == [(uuid, host, epoch) for uuid, host, epoch, _ in expected]


def _hosts_hold_nothing_else(fleet: Fleet, found: list[Guest]) -> None:
    """Of a guest that is gone no file is left, and no QEMU runs that libvirt does not know."""
    if fleet.lab.spec().driver is Driver.FAKE:
        return
    assert qemus(fleet) == sorted((guest.host, guest.uuid, guest.life) for guest in found if guest.running)
    for host in fleet.lab.spec().host_names():
        files = {path.name for path in (fleet.lab.layout.host(host) / "instances").iterdir()}
        assert files == {guest.uuid for guest in found if guest.host == host}, f"files left on {host}"


# --- hypervisors -------------------------------------------------------------------------------------------


def _fake_guests(fleet: Fleet, host: str) -> list[Guest]:
    """The fake hypervisor's file: a JSON line for each change, the last one of a uuid counts."""
    records: dict[str, dict[str, Any]] = {}
    file = fleet.lab.layout.host(host) / "agent/fake/guests"
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(json.JSONDecodeError):  # torn by the death of its writer
            change = json.loads(line)
            if record := change.get("record"):
                records[record["uuid"]] = record
            else:
                records.pop(change["deleted"], None)
    return [
        Guest(
            host=host,
            uuid=record["uuid"],
            epoch=record.get("epoch", 0),
            running=record.get("power_state") in ("running", "paused"),
            life=record.get("boots", 0),
        )
        for record in records.values()
    ]


def _domains(fleet: Fleet, host: str, pids: Mapping[tuple[str, str], int]) -> list[Guest]:
    import libvirt

    connection = libvirt.open(fleet.lab.uri(host))
    try:
        found = []
        for domain in connection.listAllDomains():
            uuid = domain.UUIDString()
            stamp = ET.fromstring(domain.XMLDesc()).find(f"metadata/{_STAMP}")
            assert stamp is not None, f"{domain.name()} on {host} is not Drover's"
            assert stamp.attrib["uuid"] == uuid
            epoch, life = int(stamp.attrib["epoch"]), pids.get((host, uuid), 0)
            assert bool(life) is bool(domain.isActive()), f"libvirt and the machine disagree on {uuid}"
            found.append(Guest(host=host, uuid=uuid, epoch=epoch, running=bool(life), life=life))
        return found
    finally:
        connection.close()


def qemus(fleet: Fleet) -> list[tuple[str, str, int]]:
    """(host, instance, pid) of the lab's emulators, as processes of the machine: libvirtd need not run."""
    spaces = {_pid_space(part.pid): part.name for part in fleet.lab.status() if part.pid and _HOST.fullmatch(part.name)}
    found: dict[int, tuple[str, str, int]] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = _QEMU_NAME.search((entry / "cmdline").read_text(errors="replace"))
            host = spaces.get(_pid_space(int(entry.name))) if name else None
            if name and host:
                pid = int(entry.name)
                parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found[pid] = (host, name[1], pid)
        except OSError:
            continue  # ended meanwhile
    # A QEMU that becomes a daemon is two processes for a moment: one guest all the same.
    return sorted(one for pid, one in found.items() if parents[pid] not in found)


def _pid_space(pid: int) -> int:
    """Each host of a lab has a pid namespace of its own."""
    return Path(f"/proc/{pid}/ns/pid").stat().st_ino

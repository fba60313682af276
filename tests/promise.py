"""Drover's promises, looked at from outside: plain SQL, and the hypervisors as they are, never the code under test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from drover.lab.spec import Driver
from drover.states import VmState
from tests.fleet import PATIENCE_S, Fleet

__all__ = ["Guest", "at_rest", "empty", "fake_records", "guests", "never_doubled", "qemus", "settles", "watched"]

_STAMP = "{urn:drover:instance:1}instance"
_HOST = re.compile(r"host\d+")
#: what a guest may show, and whether its definition is that of a rescue
_PLAIN, _RESCUED = (False,), (True,)
_SHOWS = {
    state: {(power, rescue) for power in powers for rescue in rescues}
    for state, powers, rescues in (
        (VmState.ACTIVE, ("running",), _PLAIN),
        (VmState.STOPPED, ("off",), _PLAIN),
        (VmState.PAUSED, ("paused",), _PLAIN),
        (VmState.SUSPENDED, ("saved",), _PLAIN),
        (VmState.RESCUED, ("running", "off"), _RESCUED),  # off, when it ended by itself
        (VmState.SOFT_DELETED, ("off",), (*_PLAIN, *_RESCUED)),
        (VmState.ERROR, ("running", "paused", "off", "saved"), (*_PLAIN, *_RESCUED)),
    )
}
#: seconds within which a guest that ended by itself is shown
_SHOWN_S = 20.0
_QEMU_NAME = re.compile(r"guest=drover-([0-9a-f-]{36})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A domain as its host shows it. ``life`` changes when it is started anew."""

    host: str
    uuid: str
    epoch: int
    power: str  # running, paused, off, saved: off with its memory on the disk
    rescue: bool  # its definition boots the rescue system
    life: int

    @property
    def running(self) -> bool:
        """A hypervisor process exists for it."""
        return self.power in ("running", "paused")


def guests(fleet: Fleet) -> list[Guest]:
    """Every domain of every host, whoever made it."""
    if fleet.lab.spec().driver is Driver.FAKE:
        found = [_fake_guest(record) for record in fake_records(fleet)]
    else:
        pids = {(host, uuid): pid for host, uuid, pid in qemus(fleet)}
        hosts = fleet.lab.spec().host_names()
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
        while True:
            try:
                never_doubled(fleet)
                looks.append(None)
            except Exception as exc:
                seen.append(exc)
            if seen or ended.wait(0.2):
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
    found = _records_and_guests_agree(fleet)
    _hosts_hold_nothing_else(fleet)
    _images_are_whole(fleet)
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


def _records_and_guests_agree(fleet: Fleet) -> list[Guest]:
    """Each instance has its one guest, on its host, of its epoch, in its state; and no guest is without a record.

    A guest that ended by itself is shown with a later sync, so this is looked at until it is true.
    """
    deadline = fleet.runtime.clock.monotonic() + _SHOWN_S
    while True:
        found = guests(fleet)
        wrong = _disagreements(fleet, found)
        if not wrong or fleet.runtime.clock.monotonic() > deadline:
            break
        fleet.runtime.sleep(0.05)
    assert not wrong, wrong
    return found


def _disagreements(fleet: Fleet, found: list[Guest]) -> list[str]:
    placed = sorted(fleet.rows("SELECT instance_uuid, host, epoch FROM allocation"))
    records = {
        (uuid, host, epoch): state
        for uuid, host, epoch, state in fleet.rows(
            "SELECT uuid, host, epoch, vm_state FROM instance WHERE host <> '' AND deleted_at IS NULL"
        )
    }
    there = {(guest.uuid, guest.host, guest.epoch): guest for guest in found}
    wrong = [f"placement without instance or the reverse: {key}" for key in set(placed) ^ set(records)]
    wrong += [f"guest without record or the reverse: {key}" for key in set(there) ^ set(records)]
    return wrong + [
        f"{state} shows as {guest}"
        for key, state in records.items()
        if (guest := there.get(key)) and (guest.power, guest.rescue) not in _SHOWS[VmState(state)]
    ]


def _hosts_hold_nothing_else(fleet: Fleet) -> None:
    """Of a guest that is gone no file is left, of no verb anything half done, and no QEMU that libvirt does not know.

    An agent that dies while it cleans up behind an ended operation goes on when it is back.
    """
    fake = fleet.lab.spec().driver is Driver.FAKE
    deadline = fleet.runtime.clock.monotonic() + _SHOWN_S
    while left := _left_on_fakes(fleet) if fake else _left_on_hosts(fleet):
        assert fleet.runtime.clock.monotonic() < deadline, f"left on hosts: {left}"
        fleet.runtime.sleep(0.05)


def _left_on_fakes(fleet: Fleet) -> list[Mapping[str, Any]]:
    return [
        record
        for record in fake_records(fleet)
        if record.get("snapshots")
        or record.get("copying")
        or (record.get("rescue_image") and not _fake_guest(record).rescue)
    ]


def _left_on_hosts(fleet: Fleet) -> list[str]:
    found = guests(fleet)
    left = [f"QEMU {one}" for one in set(qemus(fleet)) ^ {(g.host, g.uuid, g.life) for g in found if g.running}]
    for host in fleet.lab.spec().host_names():
        instances = fleet.lab.layout.host(host) / "instances"
        left += [
            f"{host} {uuid}"
            for uuid in {path.name for path in instances.iterdir()} ^ {g.uuid for g in found if g.host == host}
        ]
        rescued = {guest.uuid for guest in found if guest.rescue}
        left += [
            f"{host} {path}"
            for path in instances.glob("*/*/*")
            if path.name.startswith(("snapshot-", "frozen"))
            or path.name.endswith(".partial")
            or (path.name == "rescue.qcow2" and path.parent.parent.name not in rescued)
        ]
    return left


def _images_are_whole(fleet: Fleet) -> None:
    """Every image can be used or says why not, and the depot holds bytes of no other."""
    waiting = fleet.rows("SELECT id, name FROM image WHERE status = 'queued' AND deleted_at IS NULL")
    assert not waiting, f"images that nobody fills: {waiting}"
    known = {image for (image,) in fleet.rows("SELECT id FROM image WHERE status = 'active' AND deleted_at IS NULL")}
    stored = {path.name for path in fleet.lab.layout.depot.iterdir() if not path.name.endswith(".refused")}
    assert stored <= known, f"bytes of no image: {stored - known}"


# --- hypervisors -------------------------------------------------------------------------------------------


def fake_records(fleet: Fleet) -> list[dict[str, Any]]:
    """Of all fake hypervisors; each has ``host`` added."""
    found: list[dict[str, Any]] = []
    for host in fleet.lab.spec().host_names():
        records: dict[str, dict[str, Any]] = {}
        file = fleet.lab.layout.host(host) / "agent/fake/guests"
        for line in file.read_text().splitlines() if file.exists() else ():
            with suppress(msgspec.DecodeError):  # torn by the death of its writer
                change = msgspec.json.decode(line)
                if record := change.get("record"):
                    records[record["uuid"]] = {**record, "host": host}
                else:
                    records.pop(change["deleted"], None)
        found += records.values()
    return found


def _fake_guest(record: Mapping[str, Any]) -> Guest:
    power = record.get("power_state", "shutdown")
    # Of a guest that went off, the latest definition counts.
    definition = record if power in ("running", "paused") else record.get("redefined") or record
    return Guest(
        host=record["host"],
        uuid=record["uuid"],
        epoch=record.get("epoch", 0),
        power=power if power in ("running", "paused") else "saved" if record.get("saved") else "off",
        rescue=definition.get("rescue", False),
        life=record.get("boots", 0),
    )


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
            life, active = pids.get((host, uuid), 0), domain.isActive()
            assert bool(life) is bool(active), f"libvirt and the machine disagree on {uuid}"
            paused = domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
            off = "saved" if domain.hasManagedSaveImage() else "off"
            found.append(
                Guest(
                    host=host,
                    uuid=uuid,
                    epoch=int(stamp.attrib["epoch"]),
                    power="paused" if paused else "running" if active else off,
                    rescue=stamp.get("rescue") == "yes",
                    life=life,
                )
            )
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

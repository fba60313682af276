"""Races of schedulers for what only some of them can get: places, seats of a group, pieces of hardware.

The same race is run by threads of this process, and by processes as schedulers are.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import delete, select, update

from drover.conf.database import DatabaseSettings
from drover.db import claim
from drover.db.claim import Claim, ClaimState
from drover.db.engine import Database
from drover.db.host_table import change_stamp
from drover.db.schema import allocation, host_capacity, operation
from drover.objects import codec
from drover.objects.group import GroupPolicy, ServerGroup
from drover.objects.hardware import Cell, CellAsk, DeviceAsk, Hardware, HardwareAsk, HardwareClaim, PciDevice
from drover.runtime.threads import ThreadRuntime
from tests.contract.store.claim_rows import NOW, add_builds, add_group, add_host, ask_for, states, sums, used

__all__ = ["RACERS", "RACES", "WAIT_S", "Race", "begin_again", "by_processes", "by_threads"]

RACERS = 8
WAIT_S = 120.0
#: more tries of one racer in one round mean that a place is there which nobody gets
_MOST_TRIES = 200

_GPU = ("10de", "1db6")
_GPUS = Hardware(devices=(PciDevice(address="0000:01:00.0", vendor_id=_GPU[0], product_id=_GPU[1]),))
_CPUS = Hardware(cells=(Cell(id=0, cpus=(0, 1, 2, 3), cores=((0, 1), (2, 3)), memory_mib=64),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Each racer wants one place on any of *hosts*; *winners* of them can have one."""

    places: dict[str, int]
    winners: int
    probation: str = ""  # of its hosts
    policy: GroupPolicy | None = None
    hardware: HardwareAsk = field(default_factory=HardwareAsk)
    offer: Hardware = field(default_factory=Hardware)

    @property
    def group(self) -> ServerGroup | None:
        return None if self.policy is None else ServerGroup(id="g", name="g", policy=self.policy, created_at=NOW)


RACES = {
    "the last places": Race(places={"a": 1, "b": 2, "c": 1}, winners=4),
    "the last hosts of a group that keeps apart": Race(
        places={"a": 8, "b": 8, "c": 8}, winners=3, policy=GroupPolicy.ANTI_AFFINITY
    ),
    "the one host of a group that keeps together": Race(
        places={"a": 8, "b": 8, "c": 8}, winners=RACERS, policy=GroupPolicy.AFFINITY
    ),
    "one try of a host on probation": Race(places={"a": 8}, winners=1, probation="one build tries it"),
    "one PCI device": Race(
        places={"a": 8},
        winners=1,
        hardware=HardwareAsk(devices=(DeviceAsk(alias="gpu", count=1, ids=(_GPU,)),)),
        offer=_GPUS,
    ),
    "the last CPUs": Race(
        places={"a": 8, "b": 8},
        winners=4,
        hardware=HardwareAsk(cells=(CellAsk(vcpus=2, memory_mib=1),), dedicated=True),
        offer=_CPUS,
    ),
}


class Barrier(Protocol):
    def wait(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Course:
    """What a racer needs to know; goes to processes."""

    name: str
    rounds: int
    url: str
    gate: Barrier  # once before each round, once after it
    tries: Callable[[int], None]  # told at the end
    fail: Callable[[str], None]


def run(course: Course, number: int, database: Database | None = None) -> None:
    """One racer, to its end."""
    race, chance = RACES[course.name], random.Random(number)
    own = database or Database(course.url, DatabaseSettings(), ThreadRuntime())
    tries = 0
    try:
        for _ in range(course.rounds):
            course.gate.wait()
            tries += _compete(own, race, number, chance)
            course.gate.wait()
    except BaseException:
        course.fail(traceback.format_exc())
        raise
    finally:
        course.tries(tries)
        if database is None:
            own.close()


def _compete(database: Database, race: Race, number: int, chance: random.Random) -> int:
    for tries in range(1, _MOST_TRIES):
        with database.write() as conn:
            (outcome,) = claim.claim(conn, [_wish(database, race, number, chance)], NOW)
        if outcome.state is ClaimState.CLAIMED:
            return tries
        assert outcome.state is ClaimState.LOST
        if len(_places(database)) >= race.winners:
            return tries
    raise AssertionError("a place is lost")


def _wish(database: Database, race: Race, number: int, chance: random.Random) -> Claim:
    """Of a group that keeps together the second look shows the host, as a scheduler's next round does."""
    hosts = chance.sample(sorted(race.places), len(race.places))
    if race.policy is GroupPolicy.AFFINITY:
        hosts = sorted({host for host, _, _, _ in _places(database)}) or hosts
    return ask_for(f"o{number}", *hosts, hardware=race.hardware, group=race.group)


def _places(database: Database) -> list[tuple[str, str, int | None, str]]:
    """(host, group, slot, hardware) of each allocation."""
    a = allocation.c
    with database.read() as conn:
        return [tuple(row) for row in conn.execute(select(a.host, a.group_id, a.group_slot, a.hardware))]


def prepare(database: Database, race: Race) -> None:
    for name, places in race.places.items():
        add_host(database, name, places=places, hardware=codec.to_json(race.offer), probation=race.probation)
    if race.policy is not None:
        add_group(database, "g", race.policy)
    add_builds(database, [f"o{number}" for number in range(RACERS)])


def begin_again(database: Database) -> None:
    """Empty hosts, and every operation back in ``scheduling``."""
    with database.write() as conn:
        conn.execute(delete(allocation))
        empty = {"used_vcpus": 0, "used_memory_mib": 0, "used_disk_gib": 0, "quarantine": ""}
        conn.execute(update(host_capacity).values(change=change_stamp(conn), **empty))
        conn.execute(update(operation).values(state="scheduling", host="", dispatched_at=None))


def check(database: Database, race: Race) -> None:
    """Every place is taken, and no place twice."""
    places = _places(database)
    assert len(places) == race.winners
    won = [host for state, host in states(database).values() if state == "dispatched"]
    assert sorted(won) == sorted(host for host, _, _, _ in places)
    assert used(database) == sums(database)
    assert all(count <= race.places[host] for host, count in Counter(won).items())
    if race.policy is GroupPolicy.ANTI_AFFINITY:
        assert len(set(won)) == len(won)
    if race.policy is GroupPolicy.AFFINITY:
        assert len(set(won)) == 1
    claims = [(host, codec.from_json(text, HardwareClaim)) for host, _, _, text in places if text]
    assert len(claims) == (len(places) if race.hardware else 0)
    pieces = [(host, cpu) for host, each in claims for cell in each.cells for cpu in cell.cpus]
    devices = [(host, address) for host, each in claims for address in each.devices]
    assert len(set(pieces)) == len(pieces)
    assert len(set(devices)) == len(devices)
    assert len(pieces) + len(devices) >= len(claims)


def _direct(database: Database, race: Race, rounds: int, gate: Barrier) -> None:
    for _ in range(rounds):
        begin_again(database)
        gate.wait()
        gate.wait()
        check(database, race)


def by_threads(database: Database, name: str, rounds: int) -> int:
    """Answers how many claims were tried. The first failure of a racer is raised."""
    gate = threading.Barrier(RACERS + 1, timeout=WAIT_S)
    tries: list[int] = []
    failures: list[str] = []

    def fail(words: str) -> None:
        failures.append(words)
        gate.abort()

    course = Course(name, rounds, "", gate, tries.append, fail)
    racers = [threading.Thread(target=run, args=(course, number, database)) for number in range(RACERS)]
    prepare(database, RACES[name])
    for racer in racers:
        racer.start()
    try:
        _direct(database, RACES[name], rounds, gate)
    except threading.BrokenBarrierError:
        raise AssertionError(failures[0] if failures else "a racer hangs") from None
    finally:
        gate.abort()
        for racer in racers:
            racer.join(WAIT_S)
    return sum(tries)


def by_processes(database: Database, url: str, name: str, rounds: int) -> int:
    """:func:`by_threads`, but each racer is a process with connections of its own."""
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(RACERS + 1, timeout=WAIT_S)
    told, failures = spawn.SimpleQueue(), spawn.SimpleQueue()
    course = Course(name, rounds, url, gate, told.put, failures.put)
    racers = [spawn.Process(target=run, args=(course, number)) for number in range(RACERS)]
    prepare(database, RACES[name])
    for racer in racers:
        racer.start()
    try:
        _direct(database, RACES[name], rounds, gate)
        for racer in racers:
            racer.join(WAIT_S)
            assert racer.exitcode == 0
    except threading.BrokenBarrierError:
        raise AssertionError("a racer hangs, or failed" if failures.empty() else failures.get()) from None
    finally:
        gate.abort()
        for racer in racers:
            racer.kill()
    return sum(told.get() for _ in racers)

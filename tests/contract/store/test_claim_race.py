"""Many claim the last places at once, on PostgreSQL: its anomalies show nowhere else."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import select

from drover.db import claim
from drover.db.claim import Claim, ClaimState, Outcome
from drover.db.engine import Database
from drover.db.schema import allocation, host_capacity
from drover.lab.postgres import PrivatePostgres
from drover.objects.host import Resources
from tests.contract.store import race
from tests.contract.store.claim_rows import ASK, NOW, add_builds, add_host, ask_for, states, sums, used

THREADS = race.RACERS
WAIT_S = race.WAIT_S


def at_once(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run *work* in *count* threads that begin together; the first error is raised here."""
    ready = threading.Barrier(count, timeout=WAIT_S)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            ready.wait()
            work(number)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive(), "a claim hangs"
    if errors:
        raise errors[0]


def make(db: Database, claims: Sequence[Claim]) -> list[Outcome]:
    with db.write() as conn:
        return claim.claim(conn, claims, NOW)


def has_room(db: Database) -> bool:
    with db.read() as conn:
        h = host_capacity.c
        return bool(conn.execute(select(h.host).where(h.used_vcpus < h.total_vcpus).limit(1)).first())


@pytest.mark.parametrize("hosts", [1, 3, 12])
def test_the_last_places_are_given_away_once_and_all_of_them(pg: Database, hosts: int) -> None:
    """Forty rounds of 48 requests for fewer places; no error may come out, a deadlock neither."""
    names = [f"h{number:02}" for number in range(hosts)]
    for number, name in enumerate(names):
        add_host(pg, name, places=24 // hosts + number % 2)
    mine = [[f"o{thread}-{number}" for number in range(6)] for thread in range(THREADS)]
    add_builds(pg, [each for ids in mine for each in ids])
    places = sum(24 // hosts + number % 2 for number in range(hosts))
    tries = [0] * THREADS

    def compete(thread: int) -> None:
        chance = random.Random(thread)
        left = set(mine[thread])
        while left:
            claims = [ask_for(each, *chance.sample(names, min(4, hosts))) for each in sorted(left)]
            chance.shuffle(claims)
            outcomes = make(pg, claims)
            tries[thread] += len(outcomes)
            left -= {outcome.operation_id for outcome in outcomes if outcome.state is ClaimState.CLAIMED}
            if not has_room(pg):
                return

    for _ in range(40):
        at_once(compete)
        dispatched = [host for state, host in states(pg).values() if state == "dispatched"]
        assert len(dispatched) == places
        assert used(pg) == sums(pg)
        for name in names:
            room = 24 // hosts + names.index(name) % 2
            assert used(pg)[name] == Resources(
                vcpus=ASK.vcpus * room, memory_mib=ASK.memory_mib * room, disk_gib=ASK.disk_gib * room
            )
        race.begin_again(pg)
    assert sum(tries) >= 40 * places


def test_one_operation_claimed_by_many_gets_one_place(pg: Database) -> None:
    for name in ("a", "b", "c"):
        add_host(pg, name, places=50)
    ids = [f"o{number:02}" for number in range(10)]
    add_builds(pg, ids)
    won: list[str] = []

    def compete(thread: int) -> None:
        chance = random.Random(thread)
        claims = [ask_for(each, *chance.sample(("a", "b", "c"), 3)) for each in chance.sample(ids, len(ids))]
        won.extend(o.operation_id for o in make(pg, claims) if o.state is ClaimState.CLAIMED)

    for _ in range(30):
        won.clear()
        at_once(compete)
        assert sorted(won) == ids
        assert used(pg) == sums(pg)
        assert sum(amount.vcpus for amount in sums(pg).values()) == len(ids)
        race.begin_again(pg)


def test_claims_and_releases_at_once_keep_the_count(pg: Database) -> None:
    """Half the threads give back what the others claim, while two releasers may meet over the same row."""
    names = ["a", "b", "c", "d"]
    for name in names:
        add_host(pg, name, places=5)
    ids = [f"o{number:03}" for number in range(400)]
    add_builds(pg, ids)
    released: list[int] = [0] * THREADS
    claimed: list[int] = [0] * THREADS
    claiming = threading.Semaphore(0)

    def compete(thread: int) -> None:
        chance = random.Random(thread)
        if thread % 2:
            while not claiming.acquire(blocking=False):
                with pg.read() as conn:
                    a = allocation.c
                    rows = conn.execute(select(a.instance_uuid, a.host, a.epoch)).all()
                keys = [(row.instance_uuid, row.host, row.epoch) for row in rows]
                # One host a transaction, as hosts report what is gone.
                host = chance.choice(names)
                with pg.write() as conn:
                    released[thread] += len(claim.release_many(conn, [key for key in keys if key[1] == host]))
            return
        left = ids[thread // 2 :: THREADS // 2]
        while left:
            claims = [ask_for(each, *chance.sample(names, 3)) for each in left[:10]]
            done = {o.operation_id for o in make(pg, claims) if o.state is ClaimState.CLAIMED}
            claimed[thread] += len(done)
            left = [each for each in left if each not in done]
        claiming.release()

    at_once(compete)
    assert sum(claimed) == len(ids)
    assert used(pg) == sums(pg)
    still = sum(amount.vcpus for amount in sums(pg).values())
    assert sum(released) + still == len(ids)
    assert all(amount.vcpus <= 5 for amount in used(pg).values())


@pytest.mark.parametrize("name", race.RACES)
def test_eight_race_for_it_and_nobody_gets_it_twice(pg: Database, name: str) -> None:
    rounds = 30
    assert race.by_threads(pg, name, rounds) >= rounds * race.RACERS


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", race.RACES)
def test_eight_processes_race_ten_thousand_times(pg: Database, postgres: PrivatePostgres, name: str) -> None:
    rounds = 10_000 // race.RACERS
    assert race.by_processes(pg, postgres.url, name, rounds) >= 10_000

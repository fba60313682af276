"""Many clients at once, repeating themselves, while conductors die: the right number of instances, and nothing stuck."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from drover.objects.instance import CreateReply
from drover.runtime import program
from drover.runtime.port import free_ports
from drover.states import OperationState
from tests import promise
from tests.fleet import Fleet

CALLS, CLIENTS = 40, 20


def _create_all(fleet: Fleet, clients: ThreadPoolExecutor) -> Iterator[CreateReply]:
    """CALLS calls, each key used by two of them."""
    prefix = fleet.runtime.uuid()[:8]
    numbers = [number // 2 for number in range(CALLS)]
    return clients.map(lambda n: fleet.create(1, name=f"n{prefix}-{n}", key=f"{prefix}-{n}"), numbers)


def _right_number(fleet: Fleet, replies: list[CreateReply]) -> list[str]:
    """Two calls with one key made one instance, and got the same answer."""
    made = [reply.instance_uuids[0] for reply in replies]
    assert made[0::2] == made[1::2]
    assert len(set(made)) == CALLS // 2
    ended = fleet.wait(sorted({reply.operation_ids[0] for reply in replies}))
    assert {op.state for op in ended} == {OperationState.SUCCEEDED}, [op.error for op in ended]
    found = promise.at_rest(fleet)
    assert sorted(guest.uuid for guest in found if guest.running) == sorted(set(made))
    return sorted(set(made))


def test_repeated_creates_while_the_conductor_is_killed_twice(fake: Fleet) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients, promise.watched(fake):
        replies = _create_all(fake, clients)
        fake.until_row("SELECT id FROM operation WHERE unfinished = 1 LIMIT 1")
        for _ in range(2):  # the second time while it makes up for the first
            fake.lab.kill("conductor")
            fake.lab.up()
        made = _right_number(fake, list(replies))
    fake.delete(made)
    promise.empty(fake)


@contextmanager
def _second_conductor(fleet: Fleet) -> Iterator[None]:
    """Another conductor on the same database and broker, a part of the lab until it is killed."""
    layout = fleet.lab.layout
    parser = configparser.RawConfigParser()
    parser.read(layout.config("conductor"))
    parser.set("conductor", "name", "other")
    parser.set("depot", "listen_port", str(free_ports(1)[0]))
    config = layout.config("other")
    with config.open("w") as file:
        parser.write(file)
    mark = f"lab:{layout.directory}:other"
    argv = [sys.executable, "-m", "conductor", "--config-file", str(config)]
    program.start(argv, mark=mark, log=layout.log("other"))
    try:
        fleet.until_row("SELECT name FROM service WHERE kind = 'conductor' AND name = 'other'")
        yield
    finally:
        program.end(program.find(mark))


@pytest.mark.parametrize("killed", ["conductor", "other"])
def test_one_of_two_conductors_dies_and_the_other_carries_on(fake: Fleet, killed: str) -> None:
    with _second_conductor(fake), ThreadPoolExecutor(CLIENTS) as clients, promise.watched(fake):
        replies = _create_all(fake, clients)
        fake.until_row("SELECT id FROM operation WHERE unfinished = 1 LIMIT 1")
        if killed == "conductor":
            fake.lab.kill("conductor")
        else:
            program.end(program.find(f"lab:{fake.lab.layout.directory}:other"))
        made = _right_number(fake, list(replies))
    fake.lab.up()
    fake.delete(made)
    promise.empty(fake)

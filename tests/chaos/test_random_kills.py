"""Parts die at random instants of a random story; when everything runs again, everything adds up."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from drover import errors
from drover.states import Action, OperationState
from tests import promise
from tests.fleet import Fleet

COUNT = 8
#: seconds within which a story of builds, stops, reboots and deletes is over when nothing dies
STORY_S = 4.0

FAKE = ["conductor", "conductor2", "scheduler", "scheduler2", "postgresql", "rabbitmq"]
FAKE += [f"host{number}.{part}" for number in (1, 2, 3) for part in ("agent", "link")]
REAL = ["conductor", "scheduler", "relay", "postgresql", "rabbitmq"]
REAL += [f"host{number}.{part}" for number in (1, 2, 3) for part in ("agent", "libvirtd", "virtlogd")]


def _tell(fleet: Fleet, chance: random.Random) -> None:
    """Build; then of each instance a verb or two; then delete half."""
    built = fleet.create(COUNT)
    fleet.wait(built.operation_ids)
    operations: list[str] = []
    for uuid in built.instance_uuids:
        action = chance.choice([Action.STOP, Action.REBOOT, Action.DELETE])
        hard = {"type": "hard"} if action is Action.REBOOT else {}
        operations.append(fleet.act(uuid, action, **hard).id)
        if action is not Action.DELETE and chance.random() < 0.3:
            operations.append(fleet.act(uuid, Action.DELETE).id)  # supersedes what runs
    fleet.wait(operations)


def _kill_some(fleet: Fleet, chance: random.Random, parts: Sequence[str], most: int) -> list[str]:
    """Kill up to *most* parts, each at its own instant; start them again, some at once, some together."""
    killed: list[str] = []
    for _ in range(chance.randint(1, most)):
        fleet.runtime.sleep(chance.uniform(0, STORY_S / most))  # the instant is the test
        part = chance.choice(parts)
        try:
            fleet.lab.kill(part)
        except errors.LabFailed:
            continue  # dead already
        killed.append(part)
        if chance.random() < 0.5:
            fleet.lab.up()
    fleet.lab.up()
    return killed


def _round(fleet: Fleet, chance: random.Random, parts: Sequence[str], most: int) -> None:
    failures: list[BaseException] = []

    def tell() -> None:
        try:
            _tell(fleet, chance_of_the_story)
        except BaseException as exc:
            failures.append(exc)

    chance_of_the_story = random.Random(chance.random())
    with promise.watched(fleet):
        story = fleet.runtime.spawn("story", tell)
        killed = _kill_some(fleet, chance, parts, most)
        story.join()
        print("killed:", ", ".join(killed))
        assert not failures, failures
        promise.at_rest(fleet)
    bad = fleet.rows("SELECT action, error FROM operation WHERE state = 'failed'")
    assert all(action == Action.REBOOT and "OutcomeUnknown" in error for action, error in bad), bad
    left = [uuid for (uuid,) in fleet.rows("SELECT uuid FROM instance WHERE deleted_at IS NULL")]
    assert {op.state for op in fleet.delete(left)} <= {OperationState.SUCCEEDED}
    promise.empty(fleet)


def test_one_kill(fake: Fleet, chance: random.Random) -> None:
    _round(fake, chance, FAKE, most=1)


def test_many_kills(fake: Fleet, chance: random.Random) -> None:
    _round(fake, chance, FAKE, most=6)


@pytest.mark.timeout(600)
def test_one_kill_of_real_parts(real: Fleet, chance: random.Random) -> None:
    _round(real, chance, REAL, most=1)


@pytest.mark.timeout(600)
def test_many_kills_of_real_parts(real: Fleet, chance: random.Random) -> None:
    _round(real, chance, REAL, most=5)

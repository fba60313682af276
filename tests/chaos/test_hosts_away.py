"""Hosts crash, are cut off and come back in the middle of everything."""

from __future__ import annotations

import random

import pytest

from drover.states import OperationState
from tests import promise
from tests.fleet import Fleet


def _away(fleet: Fleet, chance: random.Random, host: str) -> None:
    """Take a host away for a while that may or may not be long enough to be noticed."""
    gone_s = chance.choice([0.0, 1.0, 3.0, 6.0])
    if chance.random() < 0.5:
        fleet.lab.cut(host)
        fleet.runtime.sleep(gone_s)
        fleet.lab.heal(host)
    else:
        fleet.lab.crash(host)
        fleet.runtime.sleep(gone_s)
        fleet.lab.boot(host)


def _round(fleet: Fleet, chance: random.Random) -> None:
    with promise.watched(fleet):
        built = fleet.create(9)
        for _ in range(chance.randint(1, 3)):
            fleet.runtime.sleep(chance.uniform(0.0, 1.5))  # the instant is the test
            _away(fleet, chance, chance.choice(["host1", "host2", "host3"]))
        ended = fleet.wait(built.operation_ids)
        assert {op.state for op in ended} == {OperationState.SUCCEEDED}, [op.error for op in ended]
        fleet.lab.up()
        found = promise.at_rest(fleet)
        assert sorted(guest.uuid for guest in found) == sorted(built.instance_uuids)
        fleet.delete(built.instance_uuids)
    promise.empty(fleet)


@pytest.mark.timeout(600)
def test_fake_hosts(fake: Fleet, chance: random.Random) -> None:
    _round(fake, chance)


@pytest.mark.timeout(600)
def test_real_hosts(real: Fleet, chance: random.Random) -> None:
    _round(real, chance)

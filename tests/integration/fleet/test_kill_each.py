"""``kill -9`` of any one part at any moment of builds, then its restart: every guest runs, once, and all adds up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover.lab.spec import Driver
from tests import promise
from tests.fleet import Fleet, fleet
from tests.moment import MOMENTS, create_and_kill

COUNT = 6


@pytest.fixture(scope="module")
def fake() -> Iterator[Fleet]:
    with fleet(Driver.FAKE) as made:
        yield made


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("part", ["conductor", "scheduler", "host1.agent", "host1.link", "rabbitmq", "postgresql"])
def test_builds_end_well_though_a_part_was_killed(fake: Fleet, part: str, moment: str) -> None:
    built = create_and_kill(fake, COUNT, part, moment)
    found = promise.at_rest(fake)
    assert sorted(guest.uuid for guest in found) == sorted(built.instance_uuids)
    assert all(guest.running for guest in found)
    fake.delete(built.instance_uuids)
    promise.empty(fake)

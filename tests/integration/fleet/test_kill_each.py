"""``kill -9`` of any one part at any moment of builds, then its restart: every guest runs, once, and all adds up."""

from __future__ import annotations

import pytest

from tests import promise
from tests.fleet import Fleet
from tests.moment import MOMENTS, create_and_kill

COUNT = 6
#: every part; the slow ones at fewer moments here, at all of them in tests/chaos
CASES = [
    *(("conductor", moment) for moment in MOMENTS),
    *(("scheduler", moment) for moment in ("asked", "placed")),
    *(("host1.agent", moment) for moment in ("placed", "begun", "permitted")),
    *(("postgresql", moment) for moment in ("asked", "placed", "begun", "permitted")),
    ("host1.link", "begun"),
    ("rabbitmq", "begun"),
]


@pytest.mark.parametrize(("part", "moment"), CASES)
def test_builds_end_well_though_a_part_was_killed(fake: Fleet, part: str, moment: str) -> None:
    with promise.watched(fake):
        built = create_and_kill(fake, COUNT, part, moment)
        found = promise.at_rest(fake)
    assert sorted(guest.uuid for guest in found) == sorted(built.instance_uuids)
    assert all(guest.running and guest.life == 1 for guest in found)
    fake.delete(built.instance_uuids)
    promise.empty(fake)


@pytest.mark.parametrize("part", ["conductor", "scheduler", "host1.agent", "postgresql"])
def test_deletes_end_well_though_a_part_was_killed(fake: Fleet, part: str) -> None:
    built = fake.create(COUNT)
    fake.wait(built.operation_ids)

    def delete() -> None:
        fake.delete(built.instance_uuids)

    deleting = fake.runtime.spawn("delete", delete)
    fake.until_row("SELECT id FROM operation WHERE unfinished = 1 AND action = 'delete' LIMIT 1")
    fake.lab.kill(part)
    fake.lab.up()
    deleting.join()
    promise.empty(fake)

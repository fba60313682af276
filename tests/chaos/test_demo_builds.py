"""The demonstration's builds with the shipped times: each part is killed at each moment, and all guests run."""

from __future__ import annotations

import pytest

from tests import promise
from tests.fleet import Fleet
from tests.moment import MOMENTS, create_and_kill

PARTS = ["conductor", "scheduler", "relay", "host1.agent", "host1.libvirtd", "rabbitmq", "postgresql"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("part", PARTS)
def test_all_guests_run_once_each(shipped: Fleet, part: str, moment: str) -> None:
    with promise.watched(shipped):
        built = create_and_kill(shipped, 6, part, moment)
        found = promise.at_rest(shipped)
    assert sorted(guest.uuid for guest in found if guest.running) == sorted(built.instance_uuids)
    shipped.delete(built.instance_uuids)
    promise.empty(shipped)

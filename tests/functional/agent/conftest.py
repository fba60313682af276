from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.agent.world import Host, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def host(world: World) -> Host:
    """A host whose agent is not started yet."""
    return world.host()

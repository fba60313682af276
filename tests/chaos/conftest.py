"""A lab for each module, driven by a seed that the report shows: ``CHAOS_SEED=… tox -e chaos`` repeats a choice."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from drover.lab.spec import Driver
from tests.fleet import Fleet, fleet

#: rounds of each test; more on a night with nothing else to do
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "10"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given = os.environ.get("CHAOS_SEED")
        seeds = [int(given)] if given else [random.randrange(10**6) for _ in range(ROUNDS)]
        metafunc.parametrize("seed", seeds)


@pytest.fixture
def chance(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture(scope="module")
def fake() -> Iterator[Fleet]:
    with fleet(Driver.FAKE, conductors=2, schedulers=2) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> Iterator[Fleet]:
    with fleet(Driver.LIBVIRT) as made:
        yield made


@pytest.fixture(scope="module")
def shipped() -> Iterator[Fleet]:
    """With the times that Drover is shipped with: what users of the demonstration have."""
    with fleet(Driver.LIBVIRT, settings={}) as made:
        yield made

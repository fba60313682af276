"""How many seeds, from which one on; and one database for all trials, since its statements are compiled once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.simulation.store import Store

#: about two minutes of one core
SEEDS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=int(os.environ.get("DROVER_SEEDS", SEEDS)), help="trials to run")
    parser.addoption("--first-seed", type=int, default=int(os.environ.get("DROVER_FIRST_SEED", "1")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed")
        metafunc.parametrize("seed", range(first, first + metafunc.config.getoption("--seeds")))


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    opened = Store()
    try:
        yield opened
    finally:
        opened.close()

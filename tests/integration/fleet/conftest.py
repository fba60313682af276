"""One lab with fake hosts for all modules that only kill processes or send rubbish."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drover.lab.spec import Driver
from tests.fleet import Fleet, fleet


@pytest.fixture(scope="package")
def fake() -> Iterator[Fleet]:
    """Three fake hosts; each test leaves the lab whole and without instances."""
    with fleet(Driver.FAKE) as made:
        yield made

"""Golden files: what is made, compared whole with a file under tests/golden; ``--regen`` writes the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

_GOLDEN = Path(__file__).parents[4] / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("domain/tiny.xml", text)``."""

    def compare(name: str, text: str) -> None:
        path = _GOLDEN / name
        if request.config.getoption("--regen"):
            path.write_text(text)
        assert text == path.read_text(), f"{name} differs; if it should, run pytest --regen and read the change"

    return compare

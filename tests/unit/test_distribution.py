"""Our top packages have plain names; nothing installed may have them too."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

PACKAGES = ("agent", "conductor", "scheduler", "drover")
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_has_the_package(name: str) -> None:
    # The editable install of Drover itself may or may not list its packages.
    owners = set(importlib.metadata.packages_distributions().get(name, ()))
    assert owners <= {"drover"}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_comes_from_this_tree(name: str) -> None:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).parent == ROOT / name

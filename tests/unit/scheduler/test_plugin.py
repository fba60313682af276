from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

from drover import errors
from drover.conf.scheduler import SchedulerSettings
from scheduler.plugin import FILTER_GROUP, WEIGHER_GROUP, load_chain
from tests.unit.scheduler.fleets import chain

SHIPPED = SchedulerSettings()


def declared() -> dict[str, dict[str, str]]:
    text = Path(__file__).parents[3].joinpath("pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = tomllib.loads(text)["project"]["entry-points"]
    return found


@pytest.mark.parametrize("group", [FILTER_GROUP, WEIGHER_GROUP])
def test_every_declared_entry_point_has_its_own_name(group: str) -> None:
    for name, where in declared()[group].items():
        module, _, attribute = where.partition(":")
        assert getattr(importlib.import_module(module), attribute).name == name


def test_the_shipped_settings_name_every_shipped_filter_and_weigher() -> None:
    assert set(SHIPPED.filters) == set(declared()[FILTER_GROUP])
    assert {text.partition("=")[0] for text in SHIPPED.weighers} == set(declared()[WEIGHER_GROUP])


def test_order_and_multipliers_are_those_of_the_settings() -> None:
    filters = ("disk", "memory", "vcpus", "up_enabled")
    found = load_chain(filters, ("free_vcpus=-2.5", "free_memory"))
    assert tuple(each.name for each in found.filters) == filters
    assert [(each.name, multiplier) for each, multiplier in found.weighers] == [
        ("free_vcpus", -2.5),
        ("free_memory", 1.0),
    ]


@pytest.mark.parametrize(
    ("filters", "weighers", "words"),
    [
        ((*SHIPPED.filters, "numa"), (), "'numa' is no entry point"),
        (SHIPPED.filters, ("free_beer=1.0",), "'free_beer' is no entry point"),
        (SHIPPED.filters, ("free_memory=much",), "'free_memory=much' is not name=multiplier"),
        (("up_enabled", "disk", "memory"), (), "vcpus must be on"),
    ],
)
def test_bad_settings_are_refused_by_name(filters: tuple[str, ...], weighers: tuple[str, ...], words: str) -> None:
    with pytest.raises(errors.InvalidConfig, match=words):
        load_chain(filters, weighers)


def test_a_chain_without_weighers_is_possible() -> None:
    assert chain(weighers=()).weighers == ()

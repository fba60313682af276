from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

from drover import errors
from drover.conf.scheduler import SchedulerSettings
from scheduler.host_table import Beside, HostTable
from scheduler.plugin import FILTER_GROUP, INDISPENSABLE, WEIGHER_GROUP
from tests.unit.scheduler.fleets import chain, host, spec

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


def test_the_shipped_settings_name_what_costs_nothing_unless_it_is_asked_for() -> None:
    """What reads more of each host than its row is off."""
    off = {"io_operations", "instances"}
    assert set(SHIPPED.filters) == set(declared()[FILTER_GROUP]) - off
    off = {"io_operations", "load", "image_cached", "free_disk"}
    assert {text.partition("=")[0] for text in SHIPPED.weighers} == set(declared()[WEIGHER_GROUP]) - off
    assert not chain().needs_load
    assert not chain().needs_instances


def test_order_and_multipliers_are_those_of_the_settings() -> None:
    filters = tuple(sorted(INDISPENSABLE, reverse=True))
    found = chain(filters=filters, weighers=("free_vcpus=-2.5", "free_memory"))
    assert tuple(each.name for each in found.filters) == filters
    assert [(each.name, multiplier) for each, multiplier in found.weighers] == [
        ("free_vcpus", -2.5),
        ("free_memory", 1.0),
    ]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"filters": (*SHIPPED.filters, "numa")}, "'numa' is no entry point"),
        ({"weighers": ("free_beer=1.0",)}, "'free_beer' is no entry point"),
        ({"weighers": ("free_memory=much",)}, "'free_memory=much' is not name=multiplier"),
        ({"weighers": ("free_memory=nan",)}, "'free_memory=nan' is not name=multiplier"),
        ({"filters": tuple(sorted(INDISPENSABLE - {"vcpus"}))}, "vcpus must be on"),
        ({"pci_aliases": ("gpu=10de",)}, "'gpu=10de' is not NAME=VENDOR:PRODUCT"),
    ],
)
def test_bad_settings_are_refused_by_name(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidConfig, match=words):
        chain(**chosen)


def test_a_chain_without_weighers_is_possible() -> None:
    assert chain(weighers=()).weighers == ()


@pytest.mark.parametrize("name", ["load", "io_operations", "image_cached"])
def test_a_weigher_of_the_load_makes_the_chain_need_it(name: str) -> None:
    assert chain(weighers=(name,)).needs_load


def test_filters_read_their_bounds_from_the_settings() -> None:
    found = chain(filters=(*SHIPPED.filters, "instances", "io_operations"), max_instances_per_host=2)
    assert found.needs_instances
    assert found.needs_load
    table = HostTable.build([host("a"), host("b")], Beside(instances={"a": 1, "b": 2}))
    (subject,) = (each for each in found.filters if each.name == "instances")
    assert subject.mask(table, spec()).tolist() == [True, False]


def test_an_alias_may_mean_several_devices() -> None:
    found = chain(pci_aliases=("gpu=10de:1eb8", "nic=8086:154d", " gpu=10de:2236"))
    assert found.aliases == {"gpu": (("10de", "1eb8"), ("10de", "2236")), "nic": (("8086", "154d"),)}

"""docs/scheduling.md tells every rule in the words of its own module, in the order in which rules are asked."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from drover.conf.scheduler import SchedulerSettings
from scheduler.plugin import FILTER_GROUP, WEIGHER_GROUP

PAGE = Path(__file__).parents[3] / "docs" / "scheduling.md"
SHIPPED = SchedulerSettings()


def told(group: str, on: list[str]) -> list[str]:
    """The rows of a group: those that are on in their order, then the others by name."""
    found = {each.name: each for each in entry_points(group=group) if each.module.startswith("scheduler.")}
    rows = []
    for name in [*on, *sorted(found.keys() - set(on))]:
        words = (importlib.import_module(found[name].module).__doc__ or "").partition("\n")[0].replace("``", "`")
        rows.append(f"| `{name}`{'' if name in on else ' (off)'} | {words} |")
    return rows


@pytest.mark.parametrize(
    ("title", "group", "on"),
    [
        ("Filters", FILTER_GROUP, list(SHIPPED.filters)),
        ("Weighers", WEIGHER_GROUP, [text.partition("=")[0] for text in SHIPPED.weighers]),
    ],
)
def test_the_page_tells_the_rules_as_they_are(title: str, group: str, on: list[str]) -> None:
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (page,) = (part for part in section if part.startswith(f"{title}\n"))
    shown = [line for line in page.splitlines() if line.startswith("| `")]
    assert "\n".join(shown) == "\n".join(told(group, on))

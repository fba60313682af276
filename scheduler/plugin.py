"""Filters and weighers: what they are, and how they are found by name.

They are entry points, so that a site adds its own without a change here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Protocol

from drover import errors
from scheduler.host_table import BoolArray, FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["FILTER_GROUP", "INDISPENSABLE", "WEIGHER_GROUP", "Chain", "Filter", "Weigher", "load_chain"]

FILTER_GROUP = "drover.scheduler.filters"
WEIGHER_GROUP = "drover.scheduler.weighers"

#: what a claim checks itself: without them the same full host would be proposed, and lost, for ever
INDISPENSABLE = frozenset({"up_enabled", "vcpus", "memory", "disk"})


class Filter(Protocol):
    """Says which hosts may take a request.

    Its answer about a host depends only on that host's columns, on the table's ``largest`` and on the spec,
    never on other hosts: :mod:`scheduler.decide` asks about parts of the fleet and about imagined hosts.
    """

    name: str

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        """True where the host may take it."""

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        """Why the host at *place* may not take it, in plain words with numbers; "" where :meth:`mask` is true."""


class Weigher(Protocol):
    """Says which of the hosts left are better; bound by the same rule as a filter."""

    name: str

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        """From 0 (worst) to 1 (best)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Filters in order, and weighers with their multipliers."""

    filters: tuple[Filter, ...]
    weighers: tuple[tuple[Weigher, float], ...]


def load_chain(filters: Sequence[str], weighers: Sequence[str]) -> Chain:
    """Make a chain from the names of entry points, weighers as ``name=multiplier``.

    :raises errors.InvalidConfig: a name is not installed, an indispensable filter is missing, or a multiplier is
        no number.
    """
    if missing := sorted(INDISPENSABLE - set(filters)):
        raise errors.InvalidConfig(
            reason=f"[scheduler] filters: {', '.join(missing)} must be on; to fit more on a host, "
            "raise its allocation ratios"
        )
    # Each look reads the metadata of every installed distribution, hence one a group.
    known_filters, known_weighers = entry_points(group=FILTER_GROUP), entry_points(group=WEIGHER_GROUP)
    return Chain(
        filters=tuple(_load(known_filters, FILTER_GROUP, name) for name in filters),
        weighers=tuple(_weigher(known_weighers, text) for text in weighers),
    )


def _weigher(found: EntryPoints, text: str) -> tuple[Weigher, float]:
    name, _, multiplier = text.partition("=")
    try:
        factor = float(multiplier or 1.0)
    except ValueError:
        raise errors.InvalidConfig(reason=f"[scheduler] weighers: {text!r} is not name=multiplier") from None
    return _load(found, WEIGHER_GROUP, name.strip()), factor


def _load(found: EntryPoints, group: str, name: str) -> Any:
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise errors.InvalidConfig(reason=f"{name!r} is no entry point of {group}; installed: {known}")
    return found[name].load()()

"""Filters and weighers: what they are, and how they are found by name.

They are entry points, so that a site adds its own without a change here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Protocol

from drover import errors
from drover.conf.scheduler import SchedulerSettings
from drover.extra_spec import Aliases
from scheduler.host_table import BoolArray, FloatArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["FILTER_GROUP", "INDISPENSABLE", "WEIGHER_GROUP", "Chain", "Filter", "Weigher", "load_chain"]

FILTER_GROUP = "drover.scheduler.filters"
WEIGHER_GROUP = "drover.scheduler.weighers"

#: what a claim checks itself: without them the same host would be proposed, and lost, for ever
INDISPENSABLE = frozenset(
    {
        "up_enabled",
        "draining",
        "quarantine",
        "flavor",
        "vcpus",
        "memory",
        "disk",
        "affinity",
        "anti_affinity",
        "hardware",
    }
)


class Rule(Protocol):
    """What filters and weighers have in common.

    A class may also have

    - ``needs_load = True``: it reads :attr:`HostTable.cpu_load`, ``images`` or ``Count.IO_OPERATIONS``;
    - ``needs_instances = True``: it reads ``Count.INSTANCES``. Both are read only for a chain that needs them;
    - ``from_settings(settings)``, a class method by which it is made when it has settings.
    """

    name: str

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:
        """False when it makes no difference between the hosts of *table*, however many guests more they get.

        It is then not asked, and no funnel names it.  To be answered in microseconds: every rule is asked this
        about every request.
        """


class Filter(Rule, Protocol):
    """Says which hosts may take a request.

    Its answer about a host depends only on that host's columns, on the table's ``largest`` and on the spec,
    never on other hosts: :mod:`scheduler.decide` asks about parts of the fleet and about imagined hosts.
    """

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        """True where the host may take it."""

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        """Why the host at *place* may not take it, in plain words with numbers; "" where :meth:`mask` is true."""


class Weigher(Rule, Protocol):
    """Says which of the hosts left are better; bound by the same rule as a filter."""

    def weigh(self, table: HostTable, spec: PlacementSpec) -> FloatArray:
        """From 0 (worst) to 1 (best)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Filters in order, and weighers with their multipliers."""

    filters: tuple[Filter, ...]
    weighers: tuple[tuple[Weigher, float], ...]
    aliases: Aliases = field(default_factory=dict)  # of PCI devices, for :func:`scheduler.spec.spec_of`

    @property
    def needs_load(self) -> bool:
        """Whether any reads the load of hosts."""
        return self._any_has("needs_load")

    @property
    def needs_instances(self) -> bool:
        """Whether any reads how many instances hosts have."""
        return self._any_has("needs_instances")

    def _any_has(self, attribute: str) -> bool:
        return any(getattr(each, attribute, False) for each in (*self.filters, *(each for each, _ in self.weighers)))

    def asked(self, table: HostTable, spec: PlacementSpec) -> Chain:
        """Those that apply."""
        return Chain(
            filters=tuple(each for each in self.filters if each.applies(table, spec)),
            weighers=tuple(pair for pair in self.weighers if pair[0].applies(table, spec)),
        )


def load_chain(settings: SchedulerSettings) -> Chain:
    """The filters and weighers of *settings*.

    :raises errors.InvalidConfig: a name is not installed, an indispensable filter is missing, a multiplier is no
        number, or an alias names no device.
    """
    if missing := sorted(INDISPENSABLE - set(settings.filters)):
        raise errors.InvalidConfig(
            reason=f"[scheduler] filters: {', '.join(missing)} must be on; to fit more on a host, "
            "raise its allocation ratios"
        )
    # Each look reads the metadata of every installed distribution, hence one a group.
    filters, weighers = entry_points(group=FILTER_GROUP), entry_points(group=WEIGHER_GROUP)
    return Chain(
        filters=tuple(_load(filters, FILTER_GROUP, name, settings) for name in settings.filters),
        weighers=tuple(_weigher(weighers, text, settings) for text in settings.weighers),
        aliases=_aliases(settings.pci_aliases),
    )


#: ``gpu=10de:1eb8``
_ALIAS = re.compile(r"([\w.-]+)=([0-9a-f]{4}):([0-9a-f]{4})")


def _aliases(texts: Sequence[str]) -> Aliases:
    aliases: dict[str, tuple[tuple[str, str], ...]] = {}
    for text in texts:
        found = _ALIAS.fullmatch(text.strip())
        if found is None:
            raise errors.InvalidConfig(reason=f"[scheduler] pci_aliases: {text!r} is not NAME=VENDOR:PRODUCT")
        name, *ids = found.groups()
        aliases[name] = (*aliases.get(name, ()), (ids[0], ids[1]))
    return aliases


def _weigher(found: EntryPoints, text: str, settings: SchedulerSettings) -> tuple[Weigher, float]:
    name, _, multiplier = text.partition("=")
    try:
        factor = float(multiplier or 1.0)
    except ValueError:
        factor = math.nan
    if not math.isfinite(factor):
        raise errors.InvalidConfig(reason=f"[scheduler] weighers: {text!r} is not name=multiplier")
    return _load(found, WEIGHER_GROUP, name.strip(), settings), factor


def _load(found: EntryPoints, group: str, name: str, settings: SchedulerSettings) -> Any:
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise errors.InvalidConfig(reason=f"{name!r} is no entry point of {group}; installed: {known}")
    kind = found[name].load()
    from_settings = getattr(kind, "from_settings", None)
    return kind() if from_settings is None else from_settings(settings)

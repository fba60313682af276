"""Placing as plainly as it can be said: one request, one host and one rule at a time, nothing remembered.

It shares no rule with the filters: each is said again here, about a row and the JSON in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drover import hardware
from drover.db.host_table import HostRow
from drover.objects import codec
from drover.objects.group import GroupPolicy
from drover.objects.hardware import Hardware, HardwareClaim
from drover.objects.host import HostUsage
from drover.runtime import Random
from scheduler.comparison import matches
from scheduler.host_table import Beside, Count, HostTable
from scheduler.plugin import Chain
from scheduler.spec import PlacementSpec

__all__ = ["World", "place_all"]


@dataclass(slots=True)
class World:
    """Hosts and what is on them; it changes with every placement."""

    rows: dict[str, HostRow]
    usage: Mapping[str, HostUsage]
    most_instances: int = 50
    most_io_operations: int = 8
    claims: dict[str, list[str]] = field(default_factory=dict)
    placed: Counter[str] = field(default_factory=Counter)
    members: dict[str, Counter[str]] = field(default_factory=dict)  # placed here, by group

    def table(self, spec: PlacementSpec) -> HostTable:
        """The columns of this moment, built anew."""
        built = HostTable.build(self.rows.values(), Beside(instances=self.placed, claims=self.claims))
        table = built.with_usage(self.usage).scratch()
        for place in range(len(table)):
            table.counts[Count.IO_OPERATIONS, place] += self.placed[table.name(place)]
        table.set_members(self.group_members(spec))
        return table

    def group_members(self, spec: PlacementSpec) -> Counter[str]:
        if spec.group is None:
            return Counter()
        return Counter(dict(spec.group.hosts)) + self.members.get(spec.group.id, Counter())

    def refusals(self, name: str, spec: PlacementSpec) -> list[str]:
        """The rules that keep *spec* from the host."""
        return [rule for rule, ok in self._rules(self.rows[name], spec) if not ok]

    def _rules(self, row: HostRow, spec: PlacementSpec) -> Iterator[tuple[str, bool]]:
        traits, metadata, zones = json.loads(row.traits), _metadata(row), _zones(row)
        yield "up_enabled", bool(row.enabled and row.up)
        yield "draining", not row.draining
        yield "quarantine", row.quarantine == ""
        yield "flavor", spec.contradiction == ""
        yield "excluded_hosts", row.host not in spec.excluded_hosts
        yield "only_hosts", spec.only_hosts is None or row.host in spec.only_hosts
        yield "different_host", row.host not in spec.not_hosts
        yield "availability_zone", spec.availability_zone in {"", *zones}
        yield (
            "aggregate_extra_specs",
            all(any(matches(value, wanted) for value in metadata.get(key, ())) for key, wanted in spec.aggregate_specs),
        )
        yield "tenant_isolation", spec.project_id in metadata.get("filter_tenant_id", {spec.project_id})
        yield "image_properties", all(value in metadata.get(key, {value}) for key, value in spec.image_properties)
        yield "virt_type", spec.virt_type in {"", *json.loads(row.virt_types)}
        yield "architecture", spec.architecture in {"", row.architecture}
        yield "traits", set(spec.required_traits) <= set(traits) and not set(spec.forbidden_traits) & set(traits)
        yield "vcpus", spec.vcpus in range(row.total_vcpus - row.used_vcpus + 1) or not spec.vcpus
        yield "memory", spec.memory_mib in range(row.total_memory_mib - row.used_memory_mib + 1) or not spec.memory_mib
        yield "disk", spec.disk_gib in range(row.total_disk_gib - row.used_disk_gib + 1) or not spec.disk_gib
        yield from self._ties(row, spec)
        usage = self.usage.get(row.host, HostUsage())
        most_io = _least(metadata.get("max_io_ops_per_host"), self.most_io_operations)
        yield "io_operations", usage.io_operations + self.placed[row.host] < most_io
        yield "instances", self.placed[row.host] < _least(metadata.get("max_instances_per_host"), self.most_instances)

    def _ties(self, row: HostRow, spec: PlacementSpec) -> Iterator[tuple[str, bool]]:
        members = self.group_members(spec)
        policy = None if spec.group is None else spec.group.policy
        most = 0 if spec.group is None else spec.group.max_per_host
        yield "affinity", policy is not GroupPolicy.AFFINITY or set(members) <= {row.host}
        yield "anti_affinity", policy is not GroupPolicy.ANTI_AFFINITY or members[row.host] < most
        yield "hardware", not spec.hardware or self._fit(row.host, spec) is not None

    def _fit(self, name: str, spec: PlacementSpec) -> HardwareClaim | None:
        text = self.rows[name].hardware
        offer = codec.from_json(text, Hardware) if text else Hardware()
        taken = [codec.from_json(claim, HardwareClaim) for claim in sorted(self.claims.get(name, []))]
        return hardware.fit(offer, taken, spec.hardware)

    def take(self, name: str, spec: PlacementSpec) -> None:
        """Place *spec* on the host."""
        row = self.rows[name]
        if spec.hardware:
            claim = self._fit(name, spec)
            assert claim is not None
            self.claims.setdefault(name, []).append(codec.to_json(claim))
        self.rows[name] = dataclasses.replace(
            row,
            used_vcpus=row.used_vcpus + spec.vcpus,
            used_memory_mib=row.used_memory_mib + spec.memory_mib,
            used_disk_gib=row.used_disk_gib + spec.disk_gib,
        )
        self.placed[name] += 1
        if spec.group is not None:
            self.members.setdefault(spec.group.id, Counter())[name] += 1


def place_all(
    world: World,
    requests: Sequence[PlacementSpec],
    policy: Chain,
    *,
    alternates: int,
    subset: int = 1,
    chance: Random | None = None,
) -> list[tuple[str, ...]]:
    """(host, alternates …) of each request, () when no host may take it. Only rules whose filter *policy* has count."""
    on = {each.name for each in policy.filters}
    answers: list[tuple[str, ...]] = []
    for wanted in requests:
        table = world.table(wanted)
        fit = [place for place in range(len(table)) if not on.intersection(world.refusals(table.name(place), wanted))]
        ranked = sorted(fit, key=lambda place: (-_weight(table, place, wanted, policy), place))
        if not ranked:
            answers.append(())
            continue
        picked = chance.randrange(min(subset, len(ranked))) if chance is not None else 0
        best = table.name(ranked.pop(picked))
        world.take(best, wanted)
        answers.append((best, *(table.name(place) for place in ranked[:alternates])))
    return answers


def _weight(table: HostTable, place: int, wanted: PlacementSpec, policy: Chain) -> float:
    total = 0.0
    for each, multiplier in policy.weighers:
        if each.applies(table, wanted):
            metadata = _metadata(table.host(place))
            total += _least(metadata.get(f"{each.name}_weight_multiplier"), multiplier) * float(
                each.weigh(table, wanted)[place]
            )
    return total


def _metadata(row: HostRow) -> dict[str, set[str]]:
    merged: dict[str, set[str]] = {}
    for each in json.loads(row.aggregates):
        for key, value in each.get("metadata", {}).items():
            merged.setdefault(key, set()).update(word.strip() for word in value.split(","))
    return merged


def _zones(row: HostRow) -> list[Any]:
    zones = [each["availability_zone"] for each in json.loads(row.aggregates) if each.get("availability_zone")]
    return zones or ["nova"]


def _least(words: Iterable[str] | None, default: float) -> float:
    return min(map(float, words)) if words else default

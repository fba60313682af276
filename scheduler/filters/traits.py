"""Hosts with all required traits and none of the forbidden ones. CPU flags are traits (``HW_CPU_X86_AVX2``)."""

from __future__ import annotations

from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["TraitsFilter"]


class TraitsFilter:
    name = "traits"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(spec.required_traits or spec.forbidden_traits)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        required, forbidden = frozenset(spec.required_traits), frozenset(spec.forbidden_traits)
        return table.traits.where(lambda offered: required <= offered and forbidden.isdisjoint(offered))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        offered = table.traits[place]
        if missing := [trait for trait in spec.required_traits if trait not in offered]:
            return f"required traits it lacks: {', '.join(missing)}"
        if unwanted := [trait for trait in spec.forbidden_traits if trait in offered]:
            return f"forbidden traits it has: {', '.join(unwanted)}"
        return ""

"""Hosts whose aggregates do not contradict the image's properties.

Nova's AggregateImagePropertiesIsolation: where an aggregate's metadata and the image have the same key, the
image's value must be one of the aggregate's.  Keys that only one of them has do not matter.
"""

from __future__ import annotations

from scheduler.belonging import Belonging
from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["ImagePropertiesFilter"]


class ImagePropertiesFilter:
    name = "image_properties"

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:
        return bool(spec.image_properties) and table.aggregates.speak_of(key for key, _ in spec.image_properties)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        return table.aggregates.where(lambda host: not _refusal(host, spec))

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        return _refusal(table.aggregates[place], spec)


def _refusal(host: Belonging, spec: PlacementSpec) -> str:
    for key, value in spec.image_properties:
        if key in host.metadata and value not in host.metadata[key]:
            return f"image property {key} is {value}, its aggregates are for {', '.join(sorted(host.metadata[key]))}"
    return ""

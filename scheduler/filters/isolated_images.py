"""Isolated images go to isolated hosts only, and other images elsewhere (Nova's IsolatedHostsFilter)."""

from __future__ import annotations

from typing import Self

from drover.conf.scheduler import SchedulerSettings
from scheduler.host_table import BoolArray, HostTable
from scheduler.spec import PlacementSpec

__all__ = ["IsolatedImagesFilter"]


class IsolatedImagesFilter:
    """:param restrict: isolated hosts take isolated images only."""

    name = "isolated_images"

    def __init__(self, images: frozenset[str], hosts: tuple[str, ...], *, restrict: bool = True) -> None:
        self._images = images
        self._hosts = hosts
        self._restrict = restrict

    @classmethod
    def from_settings(cls, settings: SchedulerSettings) -> Self:
        return cls(
            frozenset(settings.isolated_images),
            settings.isolated_hosts,
            restrict=settings.restrict_isolated_hosts_to_isolated_images,
        )

    def applies(self, table: HostTable, spec: PlacementSpec) -> bool:  # noqa: ARG002
        return bool(self._images or self._hosts)

    def mask(self, table: HostTable, spec: PlacementSpec) -> BoolArray:
        if spec.image_id in self._images:
            return table.is_among(self._hosts)
        return ~table.is_among(self._hosts if self._restrict else ())

    def explain(self, table: HostTable, place: int, spec: PlacementSpec) -> str:
        isolated_host, isolated_image = table.name(place) in self._hosts, spec.image_id in self._images
        if isolated_image and not isolated_host:
            return f"image {spec.image_id} is isolated, this host is not"
        if isolated_host and not isolated_image and self._restrict:
            return "this host is kept for isolated images"
        return ""

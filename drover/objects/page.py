"""Which rows of a list are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from drover.objects.catalog import ImageStatus

__all__ = ["EVERY", "EVERY_HOST", "EVERY_IMAGE", "HostFilter", "HostState", "ImageFilter", "ListFilter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """Empty fields do not filter. ``marker`` is the last row of the page before: its name, of an image its id."""

    name: str = ""  # prefix
    marker: str = ""
    limit: int = 0  # rows of a page; 0 = all


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter(ListFilter):
    status: ImageStatus | None = None


class HostState(StrEnum):
    """How a host may be; it is up, down or fenced, and any of the others beside that."""

    UP = "up"
    DOWN = "down"
    FENCED = "fenced"
    DISABLED = "disabled"
    DRAINING = "draining"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFilter(ListFilter):
    state: HostState | None = None
    aggregate: str = ""  # name
    availability_zone: str = ""


EVERY, EVERY_IMAGE, EVERY_HOST = ListFilter(), ImageFilter(), HostFilter()
